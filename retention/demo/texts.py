"""Names and notes as a sales team writes them, in the languages that its customers speak. Nothing here is real."""

from __future__ import annotations

from itertools import product

FIRST_NAMES = (
    *("Anna", "Jonas", "Leonie", "Matthias", "Zoë", "Søren", "Łukasz", "Chloé", "José", "Inés", "Ayşe", "Niamh"),
    *("伟", "芳", "秀英", "建国", "晓明", "丽华", "志强", "雨欣", "さくら", "健太", "민준", "서연"),
)
LAST_NAMES = (
    *("Müller", "Schäfer", "Novák", "O'Brien", "García", "Lefèvre", "Jensen", "Kowalski", "Rossi", "Yılmaz", "Smith"),
    *("王", "李", "张", "刘", "陈", "杨", "赵", "黄", "佐藤", "김"),
)
COMPANIES = (
    *("华信物流", "蓝海贸易", "Nordlicht", "Böttcher & Söhne", "Alpina", "Río Claro", "长江电子", "Ferrum", "Kestrel"),
    *("Maison Dubois", "Öresund", "晨光医疗", "Tatra", "Sakura 食品", "Blue Heron", "金桥纺织", "Vega"),
)
COMPANY_KINDS = ("GmbH", "有限公司", "Ltd", "S.A.", "AB", "集团", "s.r.o.", "KK", "Inc.", "分公司")
CITIES = ("上海", "München", "Zürich", "深圳", "Gdańsk", "São Paulo", "北京", "Malmö", "Dublin", "成都", "Lyon", "大阪")
OWNERS = ("w.zhang", "a.schaefer", "l.chen", "m.obrien", "j.garcia", "s.jensen", "y.liu", "c.lefevre", "k.nowak")


def _notes(*parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(part for part in line if part) for line in product(*parts))


SALES = _notes(
    ("Met the buyer at the fair.", "与采购经理通话。", "Angebot besprochen.", "Demo for the plant team."),
    ("Wants 40 units before summer.", "要求月底前交货。", "Rabatt 7 % zugesagt.", "Compares us with two others."),
    ("Sends the contract back on Friday.", "合同已发出。", "Übergabe an das Werk in Gdańsk.", ""),
)
SERVICE = _notes(
    ("Caller cannot log in.", "客户来电询问发票。", "Drucker meldet Fehler E-42.", "Parcel arrived open."),
    ("Password reset, works again.", "已转给技术部门。", "Rückruf morgen um 10 Uhr.", "Replacement is on its way."),
    ("Was friendly.", "客户表示满意。", "Called twice before.", "", "Speaks Spanish: ask for Inés."),
)
LETTERS = _notes(
    ("Offer", "Order", "Order confirmation", "报价单", "Auftragsbestätigung", "Commande"),
    ("sent by mail", "received by fax", "邮件发送", "per E-Mail", "sent through the portal"),
    ("with annex.", "无附件。", "signed.", "ohne Anlage.", "second version."),
)
CAMPAIGNS = _notes(
    ("Spring newsletter", "Autumn campaign", "双十一活动", "Messe-Einladung", "Webinar invitation"),
    ("opened", "clicked", "未打开", "bounced", "forwarded to a colleague", "nicht geöffnet"),
    ("on a phone.", "at a desk.", "", "手机端。"),
)
LOGINS = _notes(("Portal login", "门户登录", "Login über SSO"), ("from a new device.", "新设备。"))
OTHER = _notes(("Imported from the old system.", "旧系统导入。", "Ohne Zuordnung."), ("", "Check later."))
COMMENTS = _notes(
    ("Agreed.", "同意。", "Please call back.", "Bitte prüfen.", "Done today.", "Voilà, c'est réglé."),
    ("", "抄送销售部。", "See the attached mail.", "Ticket is closed.", "Danke schön!"),
)
