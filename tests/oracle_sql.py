"""More rules written by hand in SQL, beside those of synthetic/sql.py: from their words, never from the engine."""

from synthetic.sql import LATE, PAIR, Question

# The ward of a line: where it was ordered, else where the person lay. Not intensive care, nor carried out there.
OUTSIDE_INTENSIVE_CARE = """
  v.insured AND coalesce(nullif(l.dept, ''), v.ward) <> ''
  AND coalesce(nullif(l.dept, ''), v.ward) NOT IN (SELECT code FROM concepts WHERE concept = 'intensive_care_wards')
  AND l.exec_dept NOT IN (SELECT code FROM concepts WHERE concept = 'intensive_care_wards')
"""

QUESTIONS = {
    "monitoring-with-graded-nursing": Question("units", PAIR.format(number=24)),
    "duplicate-rescue-grades": Question("units", PAIR.format(number=29)),
    "overlapping-vital-sign-monitoring": Question("units", PAIR.format(number=30)),
    "procedure-step-billed-separately": Question("units", PAIR.format(number=31)),
    "drug-institution-level-restriction": Question(
        "units",
        """
SELECT DISTINCT l.line AS found, l.line, l.units AS over
FROM lines l JOIN visits v USING (setl_id)
JOIN level_limits s ON s.med_list_codg = l.item AND s.rule = 56 AND in_force(l.day, s.begndate, s.enddate)
WHERE v.level < s.min_level AND (v.insured OR NOT $insured_only)""",
    ),
    # the days of use beyond those that are paid
    "payment-course-limit-exceeded": Question(
        "units",
        """
WITH used AS (SELECT DISTINCT setl_id, item, day FROM lines),
nth AS (SELECT *, row_number() OVER (PARTITION BY setl_id, item ORDER BY day) AS nth FROM used)
SELECT DISTINCT l.line AS found, l.line, l.units AS over
FROM lines l JOIN visits v USING (setl_id) JOIN nth USING (setl_id, item, day)
JOIN course_limits c ON c.med_list_codg = l.item AND c.rule = 58 AND in_force(l.day, c.begndate, c.enddate)
WHERE c.counted = 'distinct_days' AND nth > c.max_days AND (v.insured OR NOT $insured_only)""",
    ),
    # more hours than a day has
    "hourly-item-over-24h-per-day": Question(
        "units",
        """
SELECT d.setl_id || d.item || d.day AS found, l.line, d.billed - d.cap AS over
FROM (
  WITH days AS (
    SELECT setl_id, item, day, sum(units) AS billed, least(any_value(f.max_per_day), $max_hours_per_day) AS cap
    FROM lines JOIN frequency_limits f ON f.med_list_codg = item AND f.rule = 34 AND in_force(day, begndate, enddate)
    GROUP BY setl_id, item, day)
  SELECT d.* FROM days d JOIN visits v USING (setl_id) WHERE d.billed > d.cap AND NOT ($batch_posting AND """
        + LATE
        + """)) d JOIN lines l USING (setl_id, item, day)""",
    ),
    # no disease among all diagnoses that calls for the test
    "tumour-marker-no-indication": Question(
        "units",
        """
SELECT l.line AS found, l.line, l.units AS over
FROM lines l JOIN visits v USING (setl_id)
WHERE l.item IN (SELECT code FROM concepts WHERE concept = 'tumour_markers') AND v.insured
  AND EXISTS (FROM diseases d WHERE d.setl_id = l.setl_id)
  AND NOT EXISTS (FROM diseases d JOIN concepts c ON c.concept = 'tumour_indicated_icd' AND starts_with(d.code, c.code)
                  WHERE d.setl_id = l.setl_id)""",
    ),
    # one test of a stay is enough unless a disease calls for more
    "infectious-marker-repeat-in-stay": Question(
        "units",
        """
SELECT setl_id || item AS found, line, sum(units) OVER (PARTITION BY setl_id, item) - $max_per_stay AS over
FROM lines JOIN visits v USING (setl_id)
WHERE item IN (SELECT code FROM concepts WHERE concept = 'infection_markers') AND v.inpatient AND v.insured
  AND EXISTS (FROM diseases d WHERE d.setl_id = v.setl_id)
  AND NOT EXISTS (FROM diseases d JOIN concepts c ON c.concept = 'infection_exempt_icd' AND starts_with(d.code, c.code)
                  WHERE d.setl_id = v.setl_id)
QUALIFY over > 0""",
    ),
    "icu-fee-outside-icu": Question(
        "units",
        """
SELECT l.line AS found, l.line, l.units AS over
FROM lines l JOIN visits v USING (setl_id)
WHERE l.item IN (SELECT code FROM concepts WHERE concept = 'intensive_monitoring') AND """
        + OUTSIDE_INTENSIVE_CARE,
    ),
    # a bed of intensive care elsewhere: what it costs above an ordinary bed of this level on the day
    "bed-nursing-grade-substitution": Question(
        "difference",
        """
SELECT l.line AS found, l.line, (l.price - min(c.pric_uplmt_amt)) * l.units AS yuan
FROM lines l JOIN visits v USING (setl_id)
JOIN concepts o ON o.concept = 'ordinary_bed'
JOIN price_caps c ON c.med_list_codg = o.code AND c.hosp_lv = v.level::VARCHAR
  AND in_force(l.day, c.begndate, c.enddate)
WHERE l.item IN (SELECT code FROM concepts WHERE concept = 'intensive_care_bed') AND """
        + OUTSIDE_INTENSIVE_CARE
        + """
GROUP BY l.line, l.price, l.units HAVING l.price > min(c.pric_uplmt_amt)""",
    ),
    # a test that nearly every new stay of a ward has within hours, and few for a reason
    "bundled-admission-tests": Question(
        "units",
        """
WITH tests AS (
  SELECT v.hospital, v.ward, l.item, l.line, l.setl_id, EXISTS (
      FROM diseases d, unnest(string_split(p.icd_prefixes, '|')) AS prefixes(prefix)
      WHERE d.setl_id = l.setl_id AND prefix <> '' AND starts_with(d.code, prefix)) AS reason
  FROM lines l JOIN visits v USING (setl_id)
  JOIN panel_tests p ON p.med_list_codg = l.item AND p.rule = 9 AND in_force(l.day, p.begndate, p.enddate)
  WHERE v.inpatient AND v.insured AND l.moment <= v.begntime + to_hours($within_hours::INT)),
wards AS (SELECT hospital, ward, count(*) AS stays FROM visits WHERE inpatient AND insured GROUP BY ALL),
shares AS (
  SELECT hospital, ward, item, count(DISTINCT setl_id) AS tested, count(DISTINCT setl_id) FILTER (reason) AS indicated
  FROM tests GROUP BY ALL)
SELECT hospital || ward || item AS found, line, NULL::DECIMAL(38, 4) AS over
FROM tests JOIN wards USING (hospital, ward) JOIN shares USING (hospital, ward, item)
WHERE NOT reason AND stays >= $min_stays AND tested * 100 >= stays * $min_share_pct
  AND indicated * 100 <= tested * $max_indicated_share_pct""",
    ),
    # the person had died, by the register or by the end of another stay
    "settlement-after-death": Question(
        "claim",
        """
WITH deaths AS (
  SELECT person, min(least(die_date, CASE WHEN dscg_way = '5' THEN discharged END)) AS died FROM visits GROUP BY person)
SELECT setl_id FROM visits JOIN deaths USING (person)
WHERE insured AND admitted - died >= $min_days_after_death""",
    ),
    # outpatient sessions of any seven days beyond the limit: what is over stays out of the count of later days
    "dialysis-frequency-over-capacity": Question(
        "units",
        """
WITH RECURSIVE sessions AS (
  SELECT v.person, l.* FROM lines l JOIN visits v USING (setl_id)
  WHERE l.item IN (SELECT code FROM concepts WHERE concept = 'dialysis_per_session')
    AND v.insured AND list_contains($visit_kinds::VARCHAR[], v.kind)),
days AS (
  SELECT person, day, sum(units) AS billed, row_number() OVER (PARTITION BY person ORDER BY day) AS nth
  FROM sessions GROUP BY person, day),
walk AS (
  SELECT person, 1 AS nth, day, greatest(billed - $max_sessions, 0) AS over,
    [{'day': day, 'units': least(billed, $max_sessions)}] AS kept
  FROM days WHERE nth = 1
  UNION ALL
  SELECT person, nth, day, billed - room, list_append(kept, {'day': day, 'units': room})
  FROM (
    SELECT n.*, w.kept, least(billed, greatest($max_sessions - coalesce(list_sum(list_transform(
      list_filter(w.kept, lambda k: k.day > n.day - $window_days::INT), lambda k: k.units)), 0), 0)) AS room
    FROM walk w JOIN days n ON n.person = w.person AND n.nth = w.nth + 1))
SELECT person || day AS found, line, over FROM walk JOIN sessions USING (person, day) WHERE over > 0""",
    ),
}
