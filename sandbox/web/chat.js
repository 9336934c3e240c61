import { ask, chosenFiles, clock, empty, face, formatted, keep, live, make, sendOnEnter, setText, shownFile, stayAtEnd, upload } from "/web/common.js";

const $ = (id) => document.getElementById(id);
const rows = $("rows"), thread = $("thread"), text = $("text");
let bot = "";      // id of the chosen bot; "": the first one
let chosen = "";   // id of the chosen chat; "": a customer who has not written yet
let shown = null;  // whose messages the thread shows
let state = { bots: [] };
let editing = null; // id of the message that the customer changes
let paused = null; // rate before the chatting customers were paused
const names = ["Ada", "Bruno", "Chiara", "Elif", "Femi", "Greta", "Hiro", "Inês", "Jonas", "Kaya", "Mateo", "Nadia", "Priya", "Rosa", "Samir", "Zoë"];

const ticks = {
  waiting: ["◷", "", "Waiting: the relay has not taken it yet"],
  sending: ["◷", "", "On its way to the relay"],
  delivered: ["✓✓", "taken", "The relay took it"],
  confirmed: ["✓✓", "taken", "The relay took it"],
  dropped: ["✕", "lost", "The bot did not ask for this, or it was dropped"],
};

function createRow(chat) {
  const item = make("li");
  const row = make("button", "row");
  row.type = "button";
  row.append(face(chat.name, chat.id), make("span", "name"), make("span", "time"), make("span", "last"), make("span", "mark"));
  row.addEventListener("click", () => choose(chat.id));
  item.append(row);
  return item;
}

function updateRow(item, chat) {
  const row = item.firstElementChild;
  const [, name, time, last, mark] = row.children;
  row.setAttribute("aria-current", String(chat.id === chosen));
  setText(name, chat.name);
  setText(time, chat.active_at ? clock(chat.active_at) : "");
  setText(last, (chat.last_from_bot ? "↩ " : "") + (chat.last_kind ? `[${chat.last_kind}] ` : "") + (chat.last ?? ""));
  setText(mark, chat.last && !chat.last_from_bot ? ticks[chat.last_state][0] : "");
}

function createBubble(message) {
  const item = make("li", "bubble new" + (message.from_bot ? "" : " mine"));
  const meta = make("div", "meta");
  meta.append(make("span", "edited"), make("span", "time", clock(message.date)));
  if (!message.from_bot) meta.append(make("span", "tick"));
  if (!message.from_bot && !message.pressed) meta.append(editButton(message));
  const body = make("div", "body");
  item.append(body, meta);
  if (message.file) item.prepend(shownFile(message.file));
  return item;
}

function editButton(message) {
  const button = make("button", "edit", "✎");
  button.type = "button";
  button.title = "Change it";
  button.setAttribute("aria-label", "Change this message");
  button.addEventListener("click", () => edit(state.messages.find((each) => each.id === message.id)));
  return button;
}

// The message is changed by what is sent next; null: what is sent is a new one.
function edit(message) {
  editing = message ? message.id : null;
  $("editing").hidden = !message;
  text.value = message ? message.text : "";
  if (message) text.focus();
}

function updateBubble(item, message) {
  const [body, meta] = [...item.children].slice(-2);
  const shows = JSON.stringify([message.text, message.entities]);
  if (body.shows !== shows) body.replaceChildren(formatted(message.text, message.entities));
  body.shows = shows;
  setText(meta.children[0], message.pressed ? `button · ${message.answered ? "answered" : "waits for an answer"}` : message.edited ? "edited" : "");
  if (message.from_bot) return;
  const [mark, kind, title] = ticks[message.state];
  const tick = meta.children[2];
  setText(tick, mark);
  tick.className = "tick " + kind;
  tick.title = title;
  tick.setAttribute("aria-label", title);
}

function about(current) {
  if (!current) return "";
  const how = { webhook: "delivers to a webhook", polling: "is polled", none: "nobody asks for its updates yet" }[current.mode];
  const waiting = current.waiting ? ` · ${current.waiting} waiting` : "";
  const error = current.last_error && current.waiting ? ` · ${current.last_error}` : "";
  return `@${current.username} · ${how}${waiting}${error}`;
}

function showEmpty(lines) {
  const box = $("empty");
  box.hidden = !lines;
  thread.hidden = Boolean(lines);
  if (!lines) return;
  box.replaceChildren(make("strong", "", lines[0]), ...lines.slice(1).map((line) => make("span", "", line)));
}

function showThread() {
  const current = state.bots.find((each) => each.id === (state.bot ?? ""));
  const chat = state.chat;
  const other = shown !== (chat ? chat.id : null);
  if (other) {
    empty(thread);
    shown = chat ? chat.id : null;
  }
  setText($("name"), chat ? chat.name : current ? "New customer" : "No bot yet");
  setText($("about"), about(current));
  $("block").hidden = chat?.type !== "private";
  setText($("block"), chat?.blocked ? "Let the bot in" : "Block the bot");
  $("name-line").hidden = Boolean(chat) || !current;
  $("send").disabled = !current;
  if (!current) showEmpty(["No bot yet", "A bot appears as soon as a relay uses its token here:", `api_url: ${location.origin}`]);
  else if (!chat) showEmpty(["Write as a new customer", `The message goes to @${current.username}, as it would on Telegram.`]);
  else showEmpty(null);
  if (chat) stayAtEnd(thread, other, () => keep(thread, state.messages, (each) => each.id, createBubble, updateBubble));
}

function showBots() {
  const select = $("bots");
  select.hidden = state.bots.length < 2;
  keep(select, state.bots, (each) => each.id, () => make("option"), (option, each) => {
    option.value = each.id;
    setText(option, "@" + each.username);
  });
  if (state.bot) select.value = state.bot;
}

function showChatter() {
  const running = state.customers > 0 && state.rate > 0;
  $("chatter").hidden = !running && paused === null;
  setText($("chatter-text"), running ? `${state.customers} chatting · ${state.rate}/s in all` : "Chatting customers pause");
  setText($("chatter-toggle"), running ? "Pause" : "Go on");
}

async function load() {
  const asked = chosen;
  const query = new URLSearchParams({ bot: bot || "0", chat: asked || "0" });
  const data = await ask(`/sandbox/chat?${query}`);
  state = data;
  if (asked && asked === chosen && !data.chat) chosen = "";
  const other = $("other");
  other.hidden = !data.other;
  if (data.other) other.href = data.other;
  const total = data.bots.find((each) => each.id === data.bot)?.chats ?? 0;
  setText($("count"), total ? String(total) : "");
  keep(rows, data.chats ?? [], (each) => each.id, createRow, updateRow);
  showBots();
  showChatter();
  showThread();
}

const refresh = live(load, (good) => {
  $("offline").hidden = good;
});

function choose(id) {
  chosen = id;
  if (editing) edit(null);
  document.body.classList.add("reading");
  history.replaceState(null, "", id ? `#${id}` : "#");
  $("trouble").hidden = true;
  refresh();
  if (matchMedia("(min-width: 44rem)").matches) text.focus();
}

$("new").addEventListener("click", () => {
  $("new-name").value = names[Math.floor(Math.random() * names.length)];
  choose("");
});
$("back").addEventListener("click", () => document.body.classList.remove("reading"));
$("bots").addEventListener("change", (event) => {
  bot = event.target.value;
  choose("");
});
$("chatter-toggle").addEventListener("click", async () => {
  const running = state.customers > 0 && state.rate > 0;
  const rate = running ? 0 : paused ?? 1;
  paused = running ? state.rate : null;
  await ask("/sandbox/telegram/customers", { rate });
  refresh();
});
$("block").addEventListener("click", async () => {
  await ask("/sandbox/telegram/block", { bot: state.bot, customer: chosen, blocked: !state.chat.blocked });
  refresh();
});
const picked = chosenFiles($("files"), $("chosen"), (count) => {
  $("as-line").hidden = count === 0;
});

// One message for each file, the words with the first; several pictures or videos are an album. The last answer.
async function sendFiles(files, body) {
  const album = files.length > 1 && !$("as").value ? String(Date.now()) + String(Math.floor(Math.random() * 1e4)).padStart(4, "0") : "";
  let made = null;
  for (const [i, file] of files.entries()) {
    const { text: caption, ...who } = body;
    const said = { ...who, file_name: file.name, mime: file.type, as: $("as").value, caption: i ? "" : caption };
    if (album) said.album = album;
    made = await upload("/sandbox/telegram/file", file, said);
    body.customer = String(made.chat_id);
  }
  return made;
}

$("keep").addEventListener("click", () => edit(null));
$("writer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = text.value, files = picked.all;
  if ((!said.trim() && !files.length) || $("send").disabled) return;
  const body = { bot: state.bot, text: said };
  if (chosen) body.customer = chosen;
  else if ($("new-name").value.trim()) body.name = $("new-name").value.trim();
  if (editing) body.edit = Number(editing);
  try {
    edit(null);
    picked.all = [];
    const made = files.length ? await sendFiles(files, body) : await ask("/sandbox/telegram/say", body);
    $("as").value = "";
    $("trouble").hidden = true;
    if (!chosen) choose(String(made.chat_id));
    else refresh();
  } catch (error) {
    text.value = said;
    picked.all = files;
    setText($("trouble"), error.message);
    $("trouble").hidden = false;
  }
});
sendOnEnter($("writer"), text);
$("new-name").value = names[Math.floor(Math.random() * names.length)];
if (/^#\d+$/.test(location.hash)) choose(location.hash.slice(1));
