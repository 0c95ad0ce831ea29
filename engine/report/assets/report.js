"use strict";
// Filter boxes: words separated by blanks must all occur. #find=… in the address fills the box of the findings.
function filter(box) {
  const list = document.getElementById(box.dataset.filter);
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0, all = 0;
  for (const row of list.querySelectorAll("[data-row]")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
    all += 1;
    shown += row.hidden ? 0 : 1;
  }
  const count = document.querySelector(`[data-count="${box.dataset.filter}"]`);
  count.textContent = words.length ? `显示 ${shown} / ${all}` : `共 ${all}`;
}
for (const box of document.querySelectorAll("[data-filter]")) {
  box.addEventListener("input", () => filter(box));
  filter(box);
}

// A click on a column head sorts by it: numbers by their exact value, text in Chinese order; another click turns round.
function value(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value || "-Infinity") : cell.textContent.trim();
}
function order(a, b) {
  return typeof a === "number" && typeof b === "number" ? (a > b) - (a < b) : String(a).localeCompare(String(b), "zh-CN");
}
function sort(head) {
  const down = head.getAttribute("aria-sort") !== "descending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = head.closest("table").tBodies[0];
  const rows = [...body.rows].map(row => [value(row, head.cellIndex), row]);
  rows.sort((a, b) => down ? order(b[0], a[0]) : order(a[0], b[0]));
  body.append(...rows.map(pair => pair[1]));
}
for (const head of document.querySelectorAll("table.sortable th:not([aria-hidden])")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(head));
  head.addEventListener("keydown", event => { if (event.key === "Enter") sort(head); });
}

// Links into a folded rule open it; printing opens everything.
function follow() {
  let hash = "";
  try { hash = decodeURIComponent(location.hash.slice(1)); } catch { return; }
  if (hash.startsWith("find=")) {
    const box = document.querySelector('[data-filter="finding-list"]');
    box.value = hash.slice(5);
    filter(box);
    return;
  }
  const target = hash && document.getElementById(hash);
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", follow);
follow();
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
