"""One rule of each scope as an author would write it, with what it hits, what it clears and what only looks alike."""

HEAD = "id: trial\ntitle: 试\ndescription: 试\nfamily: trial\nbasis: [{law: 试}]\n"

CASES = {
    "person_week": """
for: person_week
when: $sum([l.cnt for l in week.lines if l.item == 'R']) > 3
flag: l.item == 'R'
excess: $sum([l.cnt for l in week.lines if l.item == 'R']) - 3
amount: units
message: "{week.start}至{week.end}"
tests:
  - hit: {lines: [{item: R, cnt: "2"}, {item: R, cnt: "2", day: "6"}]}
    why: 周一与周日同属一周
  - clear: {lines: [{item: R, cnt: "2", day: "6"}, {item: R, cnt: "2", day: "7"}]}
    why: 周日与次日周一分属两周
  - clear: {lines: [{item: R, cnt: "3"}]}
    why: 恰好三次
  - hit:
      visit: {admission: "2024-12-30 09:00:00", kind: general_outpatient}
      lines: [{item: R, cnt: "2"}]
      others: [{admission: "2025-01-05 09:00:00", hospital: H2, lines: [{item: R, cnt: "2"}]}]
    why: 跨年的一周，两家机构
  - clear:
      lines: [{item: R, cnt: "2"}]
      others: [{person: P2, lines: [{item: R, cnt: "2"}]}]
    why: 两个人
  - clear: {lines: [{item: R, cnt: "4"}, {item: R, cnt: "-1"}]}
    why: 退回一次
""",
    "person_month": """
for: person_month
when: "[v for v in month.visits if v.insured].length > 2"
flag: v.insured
amount: claim
message: "{month.start}起{[v for v in month.visits if v.insured].length}次"
tests:
  - hit:
      visit: {admission: "2025-03-01 00:00:00"}
      others: [{admission: "2025-03-31 23:59:59", discharge: "2025-04-02 09:00:00"}, {admission: "2025-03-15"}]
    why: 月初与月末同属一月，按入院日
  - clear:
      visit: {admission: "2025-03-01 00:00:00"}
      others: [{admission: "2025-02-28 23:59:59"}, {admission: "2025-03-15"}]
  - clear:
      visit: {admission: "2025-03-01"}
      others: [{admission: "2025-03-05", insured: "false"}, {admission: "2025-03-15"}]
    why: 一次自费
""",
    "person_year": """
for: person_year
when: $sum([l.amount for l in year.lines]) > 100
flag: l.cnt > 0
amount: lines
message: "{year.start}至{year.end}"
tests:
  - hit:
      visit: {admission: "2024-01-01"}
      lines: [{price: "60"}]
      others: [{admission: "2024-12-31", lines: [{price: "60"}]}]
  - clear: {visit: {admission: "2024-12-31"}, lines: [{price: "60"}, {price: "60", day: "1"}]}
    why: 元旦另算一年
""",
    "person": """
for: person
params: {most: {type: int, default: "2"}}
let: {sites: "[v.hospital for v in person.visits].to_set.length"}
when: sites > params.most and $sum([l.cnt for l in person.lines if l.item == 'X']) > 0
flag: {excess: l.item == 'X', basis: v.inpatient}
amount: lines
message: "{sites}家"
tests:
  - hit: {lines: [{item: X}], others: [{hospital: H2, admission: "2020-01-01"}, {hospital: H3}]}
  - clear: {lines: [{item: X}], others: [{hospital: H2, admission: "2020-01-01"}]}
  - clear: {lines: [{item: Y}], others: [{hospital: H2}, {hospital: H3}]}
    why: 没有这个项目
  - hit:
      visit: {person: P1, identity: "11010119700615001X"}
      lines: [{item: X}]
      others: [{hospital: H2, person: P9, identity: "11010119700615001X"}, {hospital: H3}]
    why: 两个人员编号是同一个人
  - clear:
      lines: [{item: X}]
      others: [{hospital: H2, person: P9}, {hospital: H3}]
    why: 两个人
""",
    "person_day": """
for: person_day
when: "[v.hospital for v in day.visits].to_set.length > 1 and (person.insutype ?? '') == '390'"
flag: v.insured
amount: claim
message: "{day.date}"
tests:
  - hit: {others: [{hospital: H2}], tables: {persons: [{insutype: "390"}]}}
  - clear: {others: [{hospital: H2}], tables: {persons: [{insutype: "310"}]}}
  - clear: {others: [{hospital: H2, admission: "2025-03-04"}], tables: {persons: [{insutype: "390"}]}}
    why: 另一天
""",
    "person_window": """
for: person_window
window: {hours: params.hours}
params: {hours: {type: decimal, default: "1.5"}}
when: "[l for l in window.lines if l.item == 'R'].length > 1"
flag: l.item == 'R'
amount: lines
message: "{window.start}至{window.end}"
tests:
  - hit: {lines: [{item: R, time: "2025-03-03 23:00:00"}, {item: R, time: "2025-03-04 00:30:00"}]}
    why: 恰好相隔一个半小时，跨零点
  - clear: {lines: [{item: R, time: "2025-03-03 23:00:00"}, {item: R, time: "2025-03-04 00:30:01"}]}
    why: 多一秒
  - clear: {lines: [{item: R, time: "2025-03-03 23:00:00"}, {item: Q, time: "2025-03-03 23:10:00"}]}
    why: 另一个项目
  - hit:
      params: {hours: "24"}
      lines: [{item: R, time: "2025-03-03 23:00:00"}, {item: R, time: "2025-03-04 23:00:00"}]
""",
    "provider": """
for: provider
when: "(provider.hosp_lv ?? '0') == '1' and [v for v in provider.visits if v.inpatient].length > 1"
flag: v.inpatient
amount: claim
message: "{provider.fixmedins_name ?? provider.id}"
tests:
  - hit: {others: [{person: P2}], tables: {institutions: [{hosp_lv: "1", fixmedins_type: hospital}]}}
  - clear: {others: [{person: P2}], tables: {institutions: [{hosp_lv: "2", fixmedins_type: hospital}]}}
  - clear: {others: [{person: P2, hospital: H2}], tables: {institutions: [{hosp_lv: "1"}]}}
    why: 两家机构各一次
  - clear: {others: [{person: P2, kind: general_outpatient}], tables: {institutions: [{hosp_lv: "1"}]}}
    why: 一次是门诊
""",
    "provider_month": """
for: provider_month
let: {billed: "$sum([l.amount for l in month.lines if l.item == 'X'])"}
when: billed * 2 > $sum([v.total for v in month.visits])
flag: l.item == 'X'
amount: lines
message: "{month.start}{billed}"
tests:
  - hit: {lines: [{item: X, price: "51"}, {item: Y, price: "49"}]}
  - clear: {lines: [{item: X, price: "50"}, {item: Y, price: "50"}]}
    why: 恰好一半
  - clear: {lines: [{item: X, price: "51"}], others: [{person: P2, lines: [{item: Y, price: "60"}]}]}
  - hit:
      lines: [{item: X, price: "51"}]
      others: [{person: P2, admission: "2025-04-01", lines: [{item: Y, price: "60"}]}]
    why: 另一月的不算
""",
    "provider_year": """
for: provider_year
let: {late: "[v for v in year.visits if v.admission.month == 12].length"}
when: late * 2 > [v for v in year.visits].length
flag: v.admission.month == 12
amount: claim
message: "{year.start}至{year.end}"
tests:
  - hit:
      visit: {admission: "2025-01-01 00:00:00"}
      others: [{person: P2, admission: "2025-12-31 23:59:59"}, {person: P3, admission: "2025-12-01"}]
    gives: {cases: "1"}
  - clear:
      visit: {admission: "2025-01-01"}
      others: [{person: P2, admission: "2025-12-31"}]
    why: 一样多
  - clear:
      visit: {admission: "2025-12-31 23:59:59"}
      others:
        - {person: P2, admission: "2025-03-01"}
        - {person: P3, admission: "2024-12-31"}
        - {person: P4, admission: "2024-03-01"}
    why: 上一年的不算
  - clear:
      visit: {admission: "2025-12-31"}
      others:
        - {person: P2, admission: "2025-03-01"}
        - {person: P3, admission: "2025-12-01", hospital: H2}
        - {person: P4, admission: "2025-03-01", hospital: H2}
    why: 另一机构的不算
""",
    "practitioner_day": """
for: practitioner_day
when: "[l.visit.person for l in day.lines if l.item == 'C'].to_set.length > 2 or practitioner.susp_begndate != null"
flag: l.item == 'C'
amount: lines
message: "{day.date}"
tests:
  - hit:
      lines: [{item: C, doctor: D1}]
      others: [{person: P2, lines: [{item: C, doctor: D1}]}, {person: P3, lines: [{item: C, doctor: D1}]}]
      tables: {practitioners: [{prac_psn_code: D9, susp_begndate: "2025-01-01"}]}
  - clear:
      lines: [{item: C, doctor: D1}]
      others: [{person: P2, lines: [{item: C, doctor: D1}]}, {person: P3, lines: [{item: C, doctor: D2}]}]
    why: 另一位医师
  - clear:
      lines: [{item: C, doctor: D1}]
      others: [{person: P2, lines: [{item: C, doctor: D1}]}, {person: P3, lines: [{item: C, doctor: D1, day: "1"}]}]
    why: 另一天
  - clear:
      lines: [{item: C, doctor: D1}]
      others: [{person: P2, lines: [{item: C, doctor: D1}]}, {person: P3, hospital: H2, lines: [{item: C, doctor: D1}]}]
    why: 另一机构
  - hit:
      lines: [{item: C, bilg_dr_codg: D1}]
      tables: {practitioners: [{prac_psn_code: D1, susp_begndate: "2025-01-01"}]}
    why: 暂停资格
""",
    "device_day": """
for: device_day
let: {hours: "$sum([(g.hours ?? 0) for g in day.logs])"}
when: hours > 10 and (device.device_class ?? '') == '血透机'
flag: {excess: l.cnt > 0, basis: g.kind == 'device'}
amount: lines
message: "{device.id}{day.date}开机{hours}小时"
tests:
  - hit:
      lines: [{item: HD}]
      tables:
        devices: [{device_id: M1, device_class: 血透机}]
        service_logs:
          - {device_id: M1, kind: device, med_list_codg: HD,
             begntime: "2025-03-03 08:00:00", endtime: "2025-03-03 14:00:00"}
          - {device_id: M1, kind: device, psn_no: P2, setl_id: V9,
             begntime: "2025-03-03 14:00:00", endtime: "2025-03-03 18:30:00"}
  - clear:
      lines: [{item: HD}]
      tables:
        devices: [{device_id: M1, device_class: 血透机}]
        service_logs:
          - {device_id: M1, kind: device, med_list_codg: HD,
             begntime: "2025-03-03 08:00:00", endtime: "2025-03-03 14:00:00"}
          - {device_id: M2, kind: device, med_list_codg: HD,
             begntime: "2025-03-03 14:00:00", endtime: "2025-03-03 18:30:00"}
    why: 两台设备
  - clear:
      lines: [{item: HD}]
      tables:
        devices: [{device_id: M1, device_class: 血透机}]
        service_logs:
          - {device_id: M1, kind: device, med_list_codg: HD,
             begntime: "2025-03-03 08:00:00", endtime: "2025-03-03 18:00:00"}
    why: 恰好十小时
""",
    "terminal_window": """
for: terminal_window
window: {minutes: "10"}
let: {people: "[v.person for v in window.visits].to_set.length"}
when: people > 2
flag: v.insured
amount: claim
message: "{window.start}至{window.end}刷{people}人"
tests:
  - hit:
      visit: {terminal_id: T1, setl_time: "2025-03-07 10:00:00"}
      others:
        - {person: P2, terminal_id: T1, setl_time: "2025-03-07 10:05:00"}
        - {person: P3, terminal_id: T1, setl_time: "2025-03-07 10:10:00"}
    why: 首末恰好相隔十分钟
  - clear:
      visit: {terminal_id: T1, setl_time: "2025-03-07 10:00:00"}
      others:
        - {person: P2, terminal_id: T1, setl_time: "2025-03-07 10:05:00"}
        - {person: P3, terminal_id: T1, setl_time: "2025-03-07 10:10:01"}
    why: 多一秒
  - clear:
      visit: {terminal_id: T1, setl_time: "2025-03-07 10:00:00"}
      others:
        - {person: P2, terminal_id: T1, setl_time: "2025-03-07 10:05:00"}
        - {person: P3, terminal_id: T2, setl_time: "2025-03-07 10:06:00"}
    why: 另一台终端
  - clear:
      visit: {terminal_id: T1, setl_time: "2025-03-07 10:00:00"}
      others:
        - {person: P2, terminal_id: T1, setl_time: "2025-03-07 10:05:00"}
        - {person: P2, terminal_id: T1, setl_time: "2025-03-07 10:06:00"}
    why: 一人两笔
""",
}
