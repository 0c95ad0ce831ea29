"""One rule of each scope whose cases are records, stores or equal results, told as an author would."""

CASES = {
    "provider_day": """
for: provider_day
by: [item]
let:
  cash: $any([not l.visit.insured for l in day.lines])
  cheap: $min([l.price for l in day.lines if not l.visit.insured])
  paid: $sum([l.amount for l in day.lines if l.visit.insured])
  units: $sum([l.cnt for l in day.lines if l.visit.insured])
when: cash and paid > cheap * units
flag: l.visit.insured
excess: paid - cheap * units
amount: difference
message: "{day.date}"
tests:
  - hit:
      visit: {kind: pharmacy}
      lines: [{item: A, price: "12", cnt: "2"}]
      others: [{person: P2, kind: pharmacy, insured: "false", lines: [{item: A, price: "10"}]}]
    gives: {amount: "4.00"}
  - clear:
      visit: {kind: pharmacy}
      lines: [{item: A, price: "12"}]
      others: [{person: P2, kind: pharmacy, insured: "false", lines: [{item: B, price: "10"}]}]
    why: 另一种药
  - clear:
      visit: {kind: pharmacy}
      lines: [{item: A, price: "12"}]
      others: [{person: P2, kind: pharmacy, insured: "false", lines: [{item: A, price: "10", day: "1"}]}]
    why: 另一天
""",
    "practitioner_window": """
for: practitioner_window
window: {hours: "1"}
when: window.prescriptions.length > 2
flag: "(x.electronic_flag ?? '') != '9'"
amount: none
message: "{window.end}"
tests:
  - hit:
      lines: [{item: A}]
      tables:
        prescriptions:
          - {rxno: R1, dr_code: D1, issue_time: "2025-03-03 09:00:00"}
          - {rxno: R2, dr_code: D1, issue_time: "2025-03-03 09:30:00"}
          - {rxno: R3, dr_code: D1, issue_time: "2025-03-03 10:00:00"}
  - clear:
      lines: [{item: A}]
      tables:
        prescriptions:
          - {rxno: R1, dr_code: D1, issue_time: "2025-03-03 09:00:00"}
          - {rxno: R2, dr_code: D1, issue_time: "2025-03-03 09:30:00"}
          - {rxno: R3, dr_code: D1, issue_time: "2025-03-03 10:00:01"}
    why: 多一秒
  - clear:
      lines: [{item: A}]
      tables:
        prescriptions:
          - {rxno: R1, dr_code: D1, issue_time: "2025-03-03 09:00:00"}
          - {rxno: R2, dr_code: D2, issue_time: "2025-03-03 09:30:00"}
          - {rxno: R3, dr_code: D1, issue_time: "2025-03-03 10:00:00"}
    why: 两名医师
""",
    "contact_window": """
for: contact_window
window: {hours: "48"}
let: {people: "[v.person for v in window.visits if v.inpatient].to_set.length"}
when: people > 2
flag: v.inpatient
amount: claim
message: 同一{contact.kind}{people}人
tests:
  - hit:
      visit: {coner_tel: "13800000000"}
      others:
        - {person: P2, coner_tel: "13800000000", admission: "2025-03-04 09:00:00"}
        - {person: P3, coner_tel: "13800000000", admission: "2025-03-05 09:00:00"}
    gives: {cases: "1"}
  - hit:
      visit: {curr_addr: 某村, coner_tel: "1"}
      others:
        - {person: P2, curr_addr: 某村, coner_tel: "2", admission: "2025-03-04 09:00:00"}
        - {person: P3, curr_addr: 某村, coner_tel: "3", admission: "2025-03-05 09:00:00"}
    why: 电话不同，住址相同
  - clear:
      visit: {coner_tel: "13800000000"}
      others:
        - {person: P2, coner_tel: "13800000000", admission: "2025-03-04 09:00:00"}
        - {person: P3, coner_tel: "13800000000", admission: "2025-03-05 09:00:01"}
    why: 超过四十八小时
  - clear: {others: [{person: P2}, {person: P3}]}
    why: 没有电话和住址，不当作相同
""",
    "store_pair": """
for: store_pair
join: {table: substitutes, as: pair}
when: dear.sold > dear.opening + dear.purchased and cheap.opening + cheap.purchased - cheap.closing > cheap.sold
flag: l.cnt > 0
amount: lines
message: "{dear.name}、{cheap.name}"
tests:
  - hit:
      stores: [{item: C01X1, purchased: "1"}, {item: C01Y1, purchased: "5"}]
      lines: [{item: C01X1, cnt: "4"}, {item: C01Y1, cnt: "1"}]
      tables: {substitutes: [{dear: C01X, cheap: C01Y}]}
    gives: {cases: "1", amount: "40.00"}
  - hit:
      stores: [{item: C01X1, purchased: "1"}, {item: C01Y1, purchased: "5"}]
      lines: [{item: C01X1, cnt: "4"}]
      tables: {substitutes: [{dear: C01X, cheap: C01Y}]}
    why: 低值的从未以自己的名义收费
    gives: {cases: "1", amount: "40.00"}
  - clear:
      stores: [{item: C01X1, purchased: "4"}, {item: C01Y1, purchased: "5"}]
      lines: [{item: C01X1, cnt: "4"}, {item: C01Y1, cnt: "1"}]
      tables: {substitutes: [{dear: C01X, cheap: C01Y}]}
  - clear:
      stores: [{item: C01X1, purchased: "1"}, {item: C02Y1, purchased: "5"}]
      lines: [{item: C01X1, cnt: "4"}, {item: C02Y1, cnt: "1"}]
      tables: {substitutes: [{dear: C01X, cheap: C01Y}]}
    why: 另一类耗材
""",
    "pos_sale": """
for: pos_sale
when: sale.insured and (sale.item_category ?? '') == 'daily'
amount: record
message: "{sale.item}{sale.amount}元"
tests:
  - hit: {lines: [{item: A}], tables: {pos_sales: [{sale_id: S1, item_code: 洗衣液, item_category: daily, cnt: "3",
           pric: "10.005", insured_flag: "1", sale_time: "2025-03-03 10:00:00"}]}}
    gives: {amount: "30.02", fund: "30.02"}
  - clear: {lines: [{item: A}], tables: {pos_sales: [{sale_id: S1, item_code: 洗衣液, item_category: daily, cnt: "3",
             pric: "10", insured_flag: "0", sale_time: "2025-03-03 10:00:00"}]}}
""",
    "same_results": """
for: same_results
when: results.persons > 2 and results.tests > 1 and results.numbers == results.tests
flag: v.insured
amount: claim
message: "{results.persons}人{results.tests}项相同"
tests:
  - hit:
      lines: [{item: A}]
      others: [{person: P2, id: V2, lines: [{item: A}]}, {person: P3, id: V3, lines: [{item: A}]}]
      tables:
        reports:
          - {kind: lab, item_name: 白细胞, value: "5.1", report_time: "2025-03-03 10:00:00"}
          - {kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-03 10:00:00"}
          - {setl_id: V2, psn_no: P2, kind: lab, item_name: 白细胞, value: "5.1", report_time: "2025-03-04 10:00:00"}
          - {setl_id: V2, psn_no: P2, kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-04 10:00:00"}
          - {setl_id: V3, psn_no: P3, kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-05 10:00:00"}
          - {setl_id: V3, psn_no: P3, kind: lab, item_name: 白细胞, value: "5.1", report_time: "2025-03-05 10:00:00"}
    gives: {cases: "1", amount: "30.00"}
  - clear:
      lines: [{item: A}]
      others: [{person: P2, id: V2, lines: [{item: A}]}, {person: P3, id: V3, lines: [{item: A}]}]
      tables:
        reports:
          - {kind: lab, item_name: 白细胞, value: "5.1", report_time: "2025-03-03 10:00:00"}
          - {kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-03 10:00:00"}
          - {setl_id: V2, psn_no: P2, kind: lab, item_name: 白细胞, value: "5.1", report_time: "2025-03-04 10:00:00"}
          - {setl_id: V2, psn_no: P2, kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-04 10:00:00"}
          - {setl_id: V3, psn_no: P3, kind: lab, item_name: 血红蛋白, value: "132", report_time: "2025-03-05 10:00:00"}
          - {setl_id: V3, psn_no: P3, kind: lab, item_name: 白细胞, value: "5.1", report_time: "2025-03-05 10:00:00"}
    why: 一个数值不同
  - clear:
      lines: [{item: A}]
      others: [{person: P2, id: V2, lines: [{item: A}]}, {person: P3, id: V3, lines: [{item: A}]}]
      tables:
        reports:
          - {kind: lab, item_name: 白细胞, value: "0.0", report_time: "2025-03-03 10:00:00"}
          - {kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-03 10:00:00"}
          - {setl_id: V2, psn_no: P2, kind: lab, item_name: 白细胞, value: "0.0", report_time: "2025-03-04 10:00:00"}
          - {setl_id: V2, psn_no: P2, kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-04 10:00:00"}
          - {setl_id: V3, psn_no: P3, kind: lab, item_name: 血红蛋白, value: "131", report_time: "2025-03-05 10:00:00"}
          - {setl_id: V3, psn_no: P3, kind: lab, item_name: 白细胞, value: "0.0", report_time: "2025-03-05 10:00:00"}
    why: 零不算数值
""",
    "ltc_visit": """
for: ltc_visit
when: care.in_stay or care.carer_overlaps > 0
amount: record
message: "{care.begin}"
tests:
  - hit: {lines: [{item: A}], tables: {ltc_visits: [{provider_code: L1, begntime: "2025-03-05 10:00:00",
           endtime: "2025-03-05 12:00:00", det_item_fee_sumamt: "100", fund_pay: "75"}]}}
    gives: {amount: "100.00", fund: "75.00"}
  - hit: {lines: [{item: A}], tables: {ltc_visits: [
           {psn_no: P8, provider_code: L1, prac_psn_code: N1,
            begntime: "2025-03-05 10:00:00", endtime: "2025-03-05 12:00:00"},
           {psn_no: P9, provider_code: L1, prac_psn_code: N1,
            begntime: "2025-03-05 11:59:00", endtime: "2025-03-05 13:00:00"}]}}
    gives: {cases: "2"}
  - clear: {lines: [{item: A}], tables: {ltc_visits: [
             {psn_no: P8, provider_code: L1, prac_psn_code: N1,
            begntime: "2025-03-05 10:00:00", endtime: "2025-03-05 12:00:00"},
             {psn_no: P9, provider_code: L1, prac_psn_code: N1,
            begntime: "2025-03-05 12:00:00", endtime: "2025-03-05 13:00:00"}]}}
    why: 一家做完再到下一家
  - clear: {lines: [{item: A}], tables: {ltc_visits: [{provider_code: L1, begntime: "2025-03-07 10:00:00",
             endtime: "2025-03-07 12:00:00"}]}}
    why: 出院之后
""",
}  # fmt: skip

# Scopes of other cases, parted or joined in further ways.
PARTED = {
    "terminal_window by a word of the visit": """
for: terminal_window
window: {minutes: "10"}
by: [visit.total]
let: {people: "[v.person for v in window.visits].to_set.length"}
when: people > 1 and people == [l.visit.person for l in window.lines].to_set.length
flag: l.cnt > 0
amount: lines
message: "{window.end}"
tests:
  - hit:
      visit: {terminal_id: T1, setl_time: "2025-03-07 10:00:00"}
      lines: [{item: A, price: "30"}, {item: B, price: "20"}]
      others:
        - {person: P2, terminal_id: T1, setl_time: "2025-03-07 10:05:00", lines: [{item: C, price: "51"}]}
        - {person: P3, terminal_id: T1, setl_time: "2025-03-07 10:10:00", lines: [{item: C, price: "50"}]}
    why: 总额同为50元的两人
    gives: {cases: "1", amount: "100.00"}
  - clear:
      visit: {terminal_id: T1, setl_time: "2025-03-07 10:00:00"}
      lines: [{item: C, price: "50"}]
      others: [{person: P2, terminal_id: T1, setl_time: "2025-03-07 10:05:00", lines: [{item: C, price: "51"}]}]
    why: 总额不同
""",
    "visit_day whose rows are joined by a column": """
for: visit_day
join: {table: device_needs, as: need, keys: {item: l.item}, by: [item]}
let: {billed: "$sum([l.cnt for l in day.lines])"}
when: billed > 2
flag: l.cnt > 0
excess: billed - 2
amount: units
message: "{billed}"
tests:
  - hit:
      lines: [{item: X, cnt: "3"}]
      tables: {device_needs: [{med_list_codg: X, device_class: A}, {med_list_codg: X, device_class: B}]}
    why: 两行说的是同一个项目，明细只算一次
    gives: {cases: "1", cnt: "1"}
  - clear:
      lines: [{item: X, cnt: "2"}]
      tables: {device_needs: [{med_list_codg: X, device_class: A}, {med_list_codg: X, device_class: B}]}
""",
    "visit whose rows are joined by a column": """
for: visit
join: {table: device_needs, as: need, keys: {item: l.item}, by: [item]}
let: {billed: "$sum([l.cnt for l in visit.lines])"}
when: billed > 2
flag: l.cnt > 0
excess: billed - 2
amount: units
message: "{billed}"
tests:
  - hit:
      lines: [{item: X, cnt: "3"}]
      tables: {device_needs: [{med_list_codg: X, device_class: A}, {med_list_codg: X, device_class: B}]}
    gives: {cases: "1", cnt: "1"}
  - clear:
      lines: [{item: X, cnt: "2"}]
      tables: {device_needs: [{med_list_codg: X, device_class: A}, {med_list_codg: X, device_class: B}]}
""",
    "person_window whose rows are joined by a column": """
for: person_window
window: {days: "2"}
join: {table: device_needs, as: need, keys: {item: l.item}, by: [item]}
let: {billed: "$sum([l.cnt for l in window.lines])"}
when: billed > 2
flag: l.cnt > 0
excess: billed - 2
amount: units
message: "{billed}"
tests:
  - hit:
      lines: [{item: X, cnt: "2"}, {item: X, day: "1"}]
      tables: {device_needs: [{med_list_codg: X, device_class: A}, {med_list_codg: X, device_class: B}]}
    gives: {cases: "1", cnt: "1"}
  - clear:
      lines: [{item: X, cnt: "2"}, {item: X, day: "2"}]
      tables: {device_needs: [{med_list_codg: X, device_class: A}, {med_list_codg: X, device_class: B}]}
""",
}  # fmt: skip
