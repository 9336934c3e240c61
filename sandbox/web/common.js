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

// Shows the picture at this address in place of the initials, while it can be had.
export function showPicture(element, address) {
  if ((element.dataset.picture ?? "") === (address ?? "")) return;
  element.dataset.picture = address ?? "";
  element.querySelector("img")?.remove();
  if (!URL.canParse(address ?? "") || !["http:", "https:"].includes(new URL(address).protocol)) return;
  const picture = make("img");
  picture.alt = "";
  picture.referrerPolicy = "no-referrer";
  picture.addEventListener("error", () => picture.remove());
  picture.src = address;
  element.append(picture);
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

// The file as the body of a POST, with what else there is to say in the query.
export async function upload(path, file, said) {
  const query = new URLSearchParams(said);
  const answer = await fetch(`${path}?${query}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.error || `The stand-in answered ${answer.status}.`);
  return data;
}

function bytes(size) {
  if (size < 1024) return `${size} bytes`;
  return size < 1 << 20 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / (1 << 20)).toFixed(1)} MiB`;
}

// A picture, a player or a link, by the type; `url` is on this page's own origin, or the file is a link only.
export function shownFile({ url, name, mime, size, kind }) {
  const box = make("div", "file");
  const own = URL.canParse(url, location.href) && new URL(url, location.href).origin === location.origin;
  const type = own ? mime.split("/")[0] : "";
  const tag = kind === "document" ? "" : { image: "img", audio: "audio", video: "video" }[type];
  if (tag) {
    const shown = make(tag);
    shown.src = url;
    if (tag === "img") shown.alt = name || "picture";
    else shown.controls = true;
    box.append(shown);
  }
  const link = make("a", "attachment", `${name || kind || "file"}${size ? ` · ${bytes(size)}` : ""}`);
  if (own) link.href = url;
  link.download = name || "file";
  box.append(link);
  return box;
}

// {name, content_type, data} with the bytes in base64.
export async function inBase64(file) {
  const url = await new Promise((good, bad) => {
    const reader = new FileReader();
    reader.onload = () => good(reader.result);
    reader.onerror = () => bad(reader.error);
    reader.readAsDataURL(file);
  });
  return { name: file.name, content_type: file.type || "application/octet-stream", data: url.slice(url.indexOf(",") + 1) };
}

// The files chosen in `input`, each with a way to leave it out again, in `list`. `changed` is told how many there are now.
export function chosenFiles(input, list, changed) {
  let files = [];
  function show() {
    list.hidden = files.length === 0;
    list.replaceChildren(...files.map((file) => {
      const item = make("li", "", file.name);
      const drop = make("button", "quiet", "✕");
      drop.type = "button";
      drop.setAttribute("aria-label", `Leave out ${file.name}`);
      drop.addEventListener("click", () => {
        files = files.filter((each) => each !== file);
        show();
      });
      item.append(drop);
      return item;
    }));
    changed(files.length);
  }
  input.addEventListener("change", () => {
    files = [...files, ...input.files];
    input.value = "";
    show();
  });
  return {
    get all() { return files; },
    set all(others) {
      files = others;
      show();
    },
  };
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
