import { ask, clock, empty, face, keep, live, make, sendOnEnter, setText, stayAtEnd } from "/web/common.js";

const $ = (id) => document.getElementById(id);
const rows = $("rows"), thread = $("thread"), text = $("text");
let chosen = ""; // id of the chosen conversation
let starting = false; // the agent begins one
let shown = null;
let state = {};

function createRow(conversation) {
  const item = make("li");
  const row = make("button", "row");
  row.type = "button";
  row.append(face(conversation.name, (conversation.external_id ?? conversation.contact).split(":").at(-1)), make("span", "name"), make("span", "time"), make("span", "last"), make("span", "mark"));
  row.addEventListener("click", () => choose(conversation.id));
  item.append(row);
  return item;
}

function updateRow(item, conversation) {
  const row = item.firstElementChild;
  const [, name, time, last, mark] = row.children;
  row.setAttribute("aria-current", String(conversation.id === chosen));
  row.classList.toggle("unread", !conversation.read && !conversation.last_from_admin);
  setText(name, conversation.name ?? conversation.external_id ?? "Unknown");
  setText(time, clock(conversation.updated_at));
  setText(last, (conversation.state === "closed" ? "closed · " : "") + (conversation.last_from_admin ? "↩ " : "") + (conversation.last ?? ""));
  setText(mark, String(conversation.count));
  mark.title = `${conversation.count} messages`;
}

const did = { note: " · note", close: " · closed", assignment: " · assigned", open: " · opened", snoozed: " · snoozed" };
const events = { close: "closed the conversation", snoozed: "snoozed the conversation", assignment: "assigned the conversation", open: "opened the conversation" };

function createPart(part) {
  if (!part.body && events[part.type]) return make("li", "event");
  const kind = part.type === "note" ? " note" : part.author ? " mine" : "";
  const item = make("li", "bubble new" + kind);
  const meta = make("div", "meta");
  if (part.author) meta.append(make("span", "author", part.author + (did[part.type] ?? "")));
  meta.append(make("span", "time", clock(part.created_at)));
  item.append(make("div", "body", part.body ?? ""));
  for (const each of part.attachments) item.append(make("span", "attachment", `📎 ${each.name || each.url}`));
  item.append(meta);
  return item;
}

function updatePart(item, part) {
  if (item.className === "event") setText(item, `${part.author ?? "The customer"} ${events[part.type]} · ${clock(part.created_at)}`);
}

function showContacts() {
  keep($("to"), state.contacts, (each) => each.id, () => make("option"), (option, each) => {
    option.value = each.id;
    setText(option, each.name ?? each.id);
  });
}

function showEmpty() {
  const none = state.total === 0;
  const lines = starting ? ["Begin a conversation", "The customer gets it where they last wrote from."]
    : none ? ["No conversations yet", "What customers write appears here at once."]
      : ["Choose a conversation", "The latest stand on top."];
  $("empty").replaceChildren(make("strong", "", lines[0]), make("span", "", lines[1]));
}

function showThread() {
  const open = state.thread;
  const other = shown !== (open ? open.id : null);
  if (other) {
    empty(thread);
    shown = open ? open.id : null;
  }
  $("empty").hidden = Boolean(open);
  thread.hidden = $("doing").hidden = $("how").hidden = !open;
  $("writer").hidden = !open && !starting;
  $("to-line").hidden = !starting;
  $("new").hidden = state.contacts.length === 0;
  setText($("name"), open ? open.name ?? open.external_id ?? "Unknown" : starting ? "New conversation" : "");
  if (!open) {
    showEmpty();
    setText($("about"), "");
    return;
  }
  const earlier = open.earlier > 0 ? ` · ${open.earlier} earlier not shown` : "";
  setText($("about"), `Conversation ${open.id} · ${open.external_id ?? "no external id"} · ${open.state}${earlier}`);
  setText($("close"), open.state === "closed" ? "Open again" : "Close");
  setText($("snooze"), open.state === "snoozed" ? "Wake" : "Snooze");
  stayAtEnd(thread, other, () => keep(thread, open.parts, (each) => each.id, createPart, updatePart));
}

const told = { on: "", off: " · nobody is told of replies", disabled: " · the webhook refused to be told of replies" };

async function load() {
  state = await ask(`/sandbox/inbox?conversation=${chosen || 0}`);
  const other = $("other");
  other.hidden = !state.other;
  if (state.other) other.href = state.other;
  setText($("count"), state.total ? `${state.total}${state.total > state.conversations.length ? `, the latest ${state.conversations.length}` : ""}` : "");
  setText($("total"), `${state.applied.toLocaleString()} customer messages${told[state.webhook]}`);
  showContacts();
  keep(rows, state.conversations, (each) => each.id, createRow, updateRow);
  showThread();
}

const refresh = live(load, (good) => {
  $("offline").hidden = good;
});

function choose(id, begin = false) {
  chosen = id;
  starting = begin;
  setHow("reply");
  document.body.classList.add("reading");
  history.replaceState(null, "", `#${id}`);
  $("trouble").hidden = true;
  refresh();
  if (matchMedia("(min-width: 44rem)").matches) text.focus();
}

function setHow(how) {
  $("how").value = how;
  $("writer").classList.toggle("note", how === "note");
  text.placeholder = how === "note" ? "Write a note for agents" : "Write a reply";
}

// The answer, or null: then what went wrong is shown.
async function act(path, body) {
  try {
    const made = await ask(`/sandbox/inbox/${path}`, body);
    $("trouble").hidden = true;
    refresh();
    return made;
  } catch (error) {
    setText($("trouble"), error.message);
    $("trouble").hidden = false;
    return null;
  }
}

// What each choice beside the text asks for.
const ways = {
  reply: ["reply", {}],
  note: ["reply", { note: true }],
  close: ["close", {}],
  assign: ["assign", {}],
  bot: ["reply", { as: "bot" }],
};

async function send(said) {
  if (starting) {
    const made = await act("start", { contact: $("to").value, body: said });
    if (made) choose(made.conversation);
    return made;
  }
  const [path, more] = ways[$("how").value];
  const made = await act(path, { conversation: chosen, body: said, ...more });
  if (made) setHow("reply");
  return made;
}

$("back").addEventListener("click", () => document.body.classList.remove("reading"));
$("new").addEventListener("click", () => choose("", true));
$("how").addEventListener("change", () => {
  setHow($("how").value);
  text.focus();
});
$("assign").addEventListener("click", () => act("assign", { conversation: chosen }));
$("snooze").addEventListener("click", () => act(state.thread?.state === "snoozed" ? "open" : "snooze", { conversation: chosen }));
$("close").addEventListener("click", () => act(state.thread?.state === "closed" ? "open" : "close", { conversation: chosen }));
$("writer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = text.value;
  if (!said.trim()) return;
  text.value = "";
  if (!(await send(said))) text.value = said;
});
sendOnEnter($("writer"), text);
if (/^#\d+$/.test(location.hash)) choose(location.hash.slice(1));
