// The status page: asks for /api/v1/status every two seconds and shows it. All text is set with textContent.
// The token comes in the address after "#", is taken out of it at once and kept for this tab only.

const PERIOD_MS = 2000;
const KEY = "tributary.token";
const at = (id) => document.getElementById(id);
let timer = 0;

function takeToken() {
  const token = decodeURIComponent(location.hash.slice(1));
  if (!token) return;
  sessionStorage.setItem(KEY, token);
  history.replaceState(null, "", location.pathname + location.search);
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function number(n) {
  return Number(n).toLocaleString("en");
}

function time(text) {
  return text ? new Date(text).toLocaleString() : "";
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

function fill(table, rows) {
  const body = at(table).tBodies[0];
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.replaceChildren(...cells.map(([text, className]) => element("td", text, className)));
    return row;
  }));
}

function showTotals(s) {
  const totals = [["Accepted", s.accepted], ["Delivered", s.delivered], ["Waiting", s.pending], ["Skipped", s.skipped], ["Discarded", s.discarded],
    ["In doubt", s.in_doubt]];
  at("totals").replaceChildren(...totals.map(([name, value]) => {
    const box = document.createElement("div");
    box.replaceChildren(element("dt", name), element("dd", number(value), name === "Skipped" && value ? "warn" : ""));
    return box;
  }));
  const oldest = s.pending ? ` The oldest waits for ${duration(s.oldest_pending_s)}, in ${number(s.lanes_waiting)} lanes something waits.` : "";
  at("sum").textContent = `accepted = delivered + waiting + skipped + discarded.${oldest}`;
}

function showAlarms(alarms) {
  at("alarms").hidden = alarms.length === 0;
  at("alarm-list").replaceChildren(...alarms.map((a) => {
    const line = document.createElement("li");
    line.replaceChildren(element("strong", a.subject ? `${a.name}: ${a.subject}` : a.name, "bad"), element("span", ` ${a.text} `),
      element("span", time(a.since), "small"));
    return line;
  }));
}

function showTables(s) {
  fill("accounts", s.accounts.map((a) => [[a.name], a.active ? ["active", "good"] : [a.left_file ? "inactive, left the file" : "inactive", "warn"],
    [a.order], [number(a.pending), "number"], [a.defined_at ?? "by hand"]]));
  fill("desks", s.desks.map((d) => [[d.account], [d.platform], [d.state, d.state === "ok" ? "good" : "bad"], [d.reason], [time(d.until)]]));
  fill("sources", s.sources.map((c) => [[`${c.account}/${c.name}`], [c.platform], [c.state, c.state === "well" ? "good" : "warn"], [c.text],
    [time(c.since)]]));
  const hidden = s.accounts_total - s.accounts.length;
  at("accounts-more").hidden = hidden <= 0;
  at("accounts-more").textContent = `${number(hidden)} more accounts are not shown here; the API lists all.`;
}

function show(s) {
  at("login").hidden = true;
  at("main").hidden = false;
  at("state").textContent = s.ready ? "takes and delivers messages" : "does not take messages now";
  at("state").className = s.ready ? "good" : "bad";
  showTotals(s);
  showAlarms(s.alarms);
  showTables(s);
  at("version").textContent = `Tributary ${s.version}, running since ${time(s.started_at)}.`;
  at("fresh").textContent = `As of ${new Date().toLocaleTimeString()}.`;
}

function askForToken(text) {
  sessionStorage.removeItem(KEY);
  at("main").hidden = true;
  at("login").hidden = false;
  at("state").textContent = text;
  at("state").className = "";
  at("token").focus();
}

function lost(text) {
  at("state").textContent = text;
  at("state").className = "bad";
}

async function refresh() {
  clearTimeout(timer);
  const token = sessionStorage.getItem(KEY);
  if (!token) return askForToken("The token is needed.");
  try {
    const answer = await fetch("/api/v1/status", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
    if (answer.status === 401) return askForToken("This token is not the relay's.");
    if (answer.ok) show(await answer.json());
    else lost(`The relay answered ${answer.status}; what is shown may be old.`);
  } catch {
    lost("The relay does not answer; what is shown is old.");
  }
  timer = setTimeout(refresh, document.hidden ? 10 * PERIOD_MS : PERIOD_MS);
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("token").value.trim());
  at("token").value = "";
  refresh();
});
addEventListener("hashchange", () => { takeToken(); refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
takeToken();
refresh();
