import { ask, chosenFiles, clock, empty, face, inBase64, keep, live, make, sendOnEnter, setText, showPicture, shownFile, stayAtEnd } from "/web/common.js";

const $ = (id) => document.getElementById(id);
const rows = $("rows"), thread = $("thread"), text = $("text");
let chosen = ""; // id of the chosen conversation
let starting = false; // the agent begins one
let editing = null; // id of the part that the agent changes
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
  const [picture, name, time, last, mark] = row.children;
  row.setAttribute("aria-current", String(conversation.id === chosen));
  row.classList.toggle("unread", !conversation.read && !conversation.last_from_admin);
  showPicture(picture, conversation.avatar);
  setText(name, conversation.name ?? conversation.external_id ?? "Unknown");
  setText(time, clock(conversation.updated_at));
  setText(last, (conversation.state === "closed" ? "closed · " : "") + (conversation.last_from_admin ? "↩ " : "") + (conversation.last_files ? "[file] " : "") + (conversation.last ?? ""));
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
  meta.append(make("span", "edited"), make("span", "time", clock(part.created_at)));
  if (part.author && part.type !== "first") meta.append(doing("edit", "✎", "Change this message", part), doing("redact", "✕", "Take this message back", part));
  item.append(make("div", "files"), make("div", "body"), meta);
  return item;
}

function doing(what, sign, label, part) {
  const button = make("button", "edit", sign);
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", () => {
    if (what === "edit") edit(state.thread.parts.find((each) => each.id === part.id));
    else act("redact", { conversation: chosen, part: part.id });
  });
  return button;
}

// The part is changed by what is sent next; null: what is sent is a new one.
function edit(part) {
  editing = part ? part.id : null;
  $("editing").hidden = !part;
  text.value = part ? part.body ?? "" : "";
  if (part) text.focus();
}

function updateBubble(item, part) {
  const [files, body, meta] = item.children;
  const shows = JSON.stringify(part.attachments);
  if (files.shows !== shows)
    files.replaceChildren(...part.attachments.map((each) => shownFile({ url: each.url, name: each.name, mime: each.content_type, size: each.filesize })));
  files.shows = shows;
  setText(body, part.body ?? "");
  setText(meta.querySelector(".edited"), part.mark ?? "");
  for (const button of meta.querySelectorAll(".edit")) button.hidden = part.mark === "redacted";
}

function updatePart(item, part) {
  if (item.className !== "event") updateBubble(item, part);
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
  const about = [`Conversation ${open.id}`, open.external_id ?? "no external id", open.phone, open.language];
  for (const [name, value] of Object.entries(open.attributes)) about.push(`${name}: ${value}`);
  setText($("about"), [...about, open.state].filter(Boolean).join(" · ") + earlier);
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
  if (editing) edit(null);
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

const picked = chosenFiles($("files"), $("chosen"), () => {});

async function send(said, files) {
  const attachment_files = await Promise.all(files.map(inBase64));
  if (editing) {
    const made = await act("edit", { conversation: chosen, part: editing, body: said });
    if (made) edit(null);
    return made;
  }
  if (starting) {
    const made = await act("start", { contact: $("to").value, body: said, attachment_files });
    if (made) choose(made.conversation);
    return made;
  }
  const [path, more] = ways[$("how").value];
  const made = await act(path, { conversation: chosen, body: said, attachment_files, ...more });
  if (made) setHow("reply");
  return made;
}

$("keep").addEventListener("click", () => edit(null));
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
  const said = text.value, files = picked.all;
  if (!said.trim() && !files.length) return;
  text.value = "";
  picked.all = [];
  if (await send(said, files)) return;
  text.value = said;
  picked.all = files;
});
sendOnEnter($("writer"), text);
if (/^#\d+$/.test(location.hash)) choose(location.hash.slice(1));
