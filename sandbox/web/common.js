// What both pages share. Text from outside becomes text nodes only, never markup.

export function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Makes the children of `box` those of `items`, keeping the elements of keys that stay.
export function keep(box, items, keyOf, create, update) {
  const have = box.kept ?? (box.kept = new Map());
  const seen = new Set();
  let at = box.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    seen.add(key);
    let element = have.get(key);
    if (!element) {
      element = create(item);
      have.set(key, element);
    }
    update(element, item);
    if (element === at) at = at.nextElementSibling;
    else box.insertBefore(element, at);
  }
  for (const [key, element] of have)
    if (!seen.has(key)) {
      element.remove();
      have.delete(key);
    }
}

export function empty(box) {
  box.replaceChildren();
  box.kept = new Map();
}

export function initials(name) {
  const words = (name || "?").trim().split(/\s+/);
  const first = [...(words[0] || "?")][0] ?? "?";
  return (first + (words.length > 1 ? [...words.at(-1)][0] : "")).toUpperCase();
}

export function face(name, id) {
  const element = make("span", "face", initials(name));
  let hash = 7;
  for (const c of String(id)) hash = Math.imul(hash ^ c.charCodeAt(0), 0x9e3779b1) >>> 0;
  element.style.setProperty("--hue", (hash >>> 8) % 360);
  element.setAttribute("aria-hidden", "true");
  return element;
}

export function clock(time) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  const today = date.toDateString() === new Date().toDateString();
  const parts = today ? { hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short" };
  return date.toLocaleString([], parts);
}

const tags = {
  bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre",
  blockquote: "blockquote", expandable_blockquote: "blockquote", text_link: "a", spoiler: "span",
};

function linkTo(element, address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url && ["http:", "https:", "mailto:", "tel:", "tg:"].includes(url.protocol)) element.href = url.href;
  element.rel = "noreferrer";
}

// The text with its entities, which lie one within the other or apart; offsets count UTF-16 units, as here.
export function formatted(text, entities, from = 0, to = text.length) {
  const box = document.createDocumentFragment();
  const sorted = [...entities].sort((a, b) => a.offset - b.offset || b.length - a.length);
  let at = from;
  while (sorted.length) {
    const entity = sorted.shift();
    const end = entity.offset + entity.length;
    const apart = sorted.findIndex((each) => each.offset >= end);
    const within = sorted.splice(0, apart < 0 ? sorted.length : apart);
    const element = make(tags[entity.type] ?? "span", entity.type === "spoiler" ? "spoiler" : "");
    if (entity.type === "text_link") linkTo(element, entity.url);
    element.append(formatted(text, within, entity.offset, end));
    box.append(text.slice(at, entity.offset), element);
    at = end + (element.matches("pre, blockquote") && text[end] === "\n"); // a block makes its own line
  }
  box.append(text.slice(at, to));
  return box;
}

export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  const text = await answer.text();
  let data = {};
  try {
    data = JSON.parse(text);
  } catch {
    // said below
  }
  if (!answer.ok) throw new Error(data.error || `The stand-in answered ${answer.status}.`);
  return data;
}

// Calls `load` now and whenever something changed, one call at a time; a lost stream is replaced by asking every two seconds.
export function live(load, onState) {
  let busy = false;
  let again = false;
  async function run() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    do {
      again = false;
      try {
        await load();
        onState(true);
      } catch {
        onState(false);
      }
    } while (again);
    busy = false;
  }
  let timer = 0;
  function listen() {
    const stream = new EventSource("/sandbox/live");
    stream.addEventListener("change", run);
    stream.onopen = () => {
      clearInterval(timer);
      timer = 0;
      run();
    };
    stream.onerror = () => {
      if (!timer) timer = setInterval(run, 2000);
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
    };
  }
  listen();
  run();
  return run;
}

// Runs `change`, and stays at the end of the box if that is where the reader is.
export function stayAtEnd(box, force, change) {
  const atEnd = force || box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

// Enter sends, Shift+Enter makes a line.
export function sendOnEnter(form, textarea) {
  textarea.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
