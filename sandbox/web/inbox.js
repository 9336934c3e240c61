import { ask, clock, empty, face, keep, live, make, sendOnEnter, setText, stayAtEnd } from "/web/common.js";

const $ = (id) => document.getElementById(id);
const rows = $("rows"), thread = $("thread"), text = $("text");
let chosen = ""; // id of the chosen conversation
let shown = null;
let state = {};
let note = false;

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

const events = { close: "closed the conversation", snoozed: "snoozed the conversation", assignment: "assigned the conversation", open: "opened the conversation" };

function createPart(part) {
  if (!part.body && events[part.type]) return make("li", "event");
  const kind = part.type === "note" ? " note" : part.author ? " mine" : "";
  const item = make("li", "bubble new" + kind);
  const meta = make("div", "meta");
  if (part.author) meta.append(make("span", "author", part.author + (part.type === "note" ? " · note" : "")));
  meta.append(make("span", "time", clock(part.created_at)));
  item.append(make("div", "body", part.body ?? ""));
  for (const each of part.attachments) item.append(make("span", "attachment", `📎 ${each.name || each.url}`));
  item.append(meta);
  return item;
}

function updatePart(item, part) {
  if (item.className === "event") setText(item, `${part.author ?? "The customer"} ${events[part.type]} · ${clock(part.created_at)}`);
}

function showThread() {
  const open = state.thread;
  const other = shown !== (open ? open.id : null);
  if (other) {
    empty(thread);
    shown = open ? open.id : null;
  }
  $("empty").hidden = Boolean(open);
  thread.hidden = $("writer").hidden = $("close").hidden = !open;
  setText($("name"), open ? open.name ?? open.external_id ?? "Unknown" : "");
  if (!open) {
    const none = state.total === 0;
    $("empty").replaceChildren(
      make("strong", "", none ? "No conversations yet" : "Choose a conversation"),
      make("span", "", none ? "What customers write appears here at once." : "The latest stand on top."),
    );
    setText($("about"), "");
    return;
  }
  const earlier = open.earlier > 0 ? ` · ${open.earlier} earlier not shown` : "";
  setText($("about"), `Conversation ${open.id} · ${open.external_id ?? "no external id"} · ${open.state}${earlier}`);
  setText($("close"), open.state === "closed" ? "Open again" : "Close");
  stayAtEnd(thread, other, () => keep(thread, open.parts, (each) => each.id, createPart, updatePart));
}

async function load() {
  state = await ask(`/sandbox/inbox?conversation=${chosen || 0}`);
  const other = $("other");
  other.hidden = !state.other;
  if (state.other) other.href = state.other;
  setText($("count"), state.total ? `${state.total}${state.total > state.conversations.length ? `, the latest ${state.conversations.length}` : ""}` : "");
  setText($("total"), `${state.applied.toLocaleString()} customer messages`);
  keep(rows, state.conversations, (each) => each.id, createRow, updateRow);
  showThread();
}

const refresh = live(load, (good) => {
  $("offline").hidden = good;
});

function choose(id) {
  chosen = id;
  document.body.classList.add("reading");
  history.replaceState(null, "", `#${id}`);
  $("trouble").hidden = true;
  refresh();
  if (matchMedia("(min-width: 44rem)").matches) text.focus();
}

function setNote(on) {
  note = on;
  $("note").setAttribute("aria-pressed", String(on));
  $("writer").classList.toggle("note", on);
  text.placeholder = on ? "Write a note for agents" : "Write a reply";
}

async function act(path, body) {
  try {
    await ask(path, body);
    $("trouble").hidden = true;
    refresh();
    return true;
  } catch (error) {
    setText($("trouble"), error.message);
    $("trouble").hidden = false;
    return false;
  }
}

$("back").addEventListener("click", () => document.body.classList.remove("reading"));
$("note").addEventListener("click", () => {
  setNote(!note);
  text.focus();
});
$("close").addEventListener("click", () => act("/sandbox/inbox/close", { conversation: chosen }));
$("writer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = text.value;
  if (!said.trim()) return;
  text.value = "";
  if (await act("/sandbox/inbox/reply", { conversation: chosen, body: said, note })) setNote(false);
  else text.value = said;
});
sendOnEnter($("writer"), text);
if (/^#\d+$/.test(location.hash)) choose(location.hash.slice(1));
