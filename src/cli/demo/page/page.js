// Shows what arrives. Whatever comes from the cluster is put in as text, never as markup; the one
// piece of foreign HTML, the mail, lives in a frame in which nothing runs.
"use strict";

const $ = (id) => document.getElementById(id);

function el(tag, cls, ...children) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

const clock = (at) => (at ? new Date(at).toISOString().slice(11, 19) : "");
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

function time(at) {
  const node = el("time", "", clock(at));
  node.dateTime = at;
  return node;
}

// The state of a decision is what colours it everywhere.
const mood = (decision, severity) => (decision === "resolved" || decision === "expired" ? "resolved" : severity || "");

// What belongs to one incident is shown together.
function link(node, incident) {
  if (!incident) return;
  node.dataset.incident = incident;
  const mark = (on) => {
    for (const other of document.querySelectorAll(`[data-incident="${CSS.escape(incident)}"]`)) other.classList.toggle("linked", on);
  };
  node.addEventListener("mouseenter", () => mark(true));
  node.addEventListener("mouseleave", () => mark(false));
}

// Follows the end, unless somebody has scrolled away from it.
function follow(box, change) {
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function fill(box) {
  box.querySelector(".empty")?.remove();
}

// === The cluster ===

function cluster(line) {
  const box = $("cluster");
  follow(box, () => box.append(el("li", line.tone, time(line.at), line.text)));
}

function told(body) {
  const box = $("cluster");
  const item = el("li", `told ${mood(body.decision, body.severity)}`, time(body.at),
    el("div", "bubble", el("small", "", body.decision === "resolved" ? "told: it is over" : "told"), el("span", "", body.title)));
  item.title = body.title;
  link(item, body.thread);
  follow(box, () => box.append(item));
}

// === Slack ===

const unescape = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

// Slack's mrkdwn, as far as it is sent: links, bold, italic, strike, code, quotes.
function mrkdwn(text) {
  const out = document.createDocumentFragment();
  const token = /```([\s\S]+?)```|`([^`\n]+)`|<([^>|]+)(?:\|([^>]*))?>|(?<![\w*])\*([^*\n]+)\*(?![\w*])|(?<![\w_])_([^_\n]+)_(?![\w_])|(?<![\w~])~([^~\n]+)~(?![\w~])|^(?:&gt;|>) ?(.*)$|\n/gm;
  let last = 0;
  for (const m of text.matchAll(token)) {
    out.append(unescape(text.slice(last, m.index)));
    last = m.index + m[0].length;
    if (m[1] !== undefined) out.append(el("pre", "", unescape(m[1])));
    else if (m[2] !== undefined) out.append(el("code", "", unescape(m[2])));
    else if (m[3] !== undefined) out.append(anchor(unescape(m[3]), unescape(m[4] || m[3])));
    else if (m[5] !== undefined) out.append(el("strong", "", mrkdwn(m[5])));
    else if (m[6] !== undefined) out.append(el("em", "", mrkdwn(m[6])));
    else if (m[7] !== undefined) out.append(el("s", "", mrkdwn(m[7])));
    else if (m[8] !== undefined) out.append(el("blockquote", "", mrkdwn(m[8])));
    else out.append(el("br"));
  }
  out.append(unescape(text.slice(last)));
  return out;
}

function anchor(href, label) {
  // Slack links to the web and to mail, to nothing else.
  if (!/^(https?|mailto):/.test(href)) return document.createTextNode(label);
  const node = el("a", "", label);
  node.href = href;
  node.rel = "noopener noreferrer";
  node.target = "_blank";
  return node;
}

function textObject(text) {
  if (!text) return "";
  if (text.type === "mrkdwn") return mrkdwn(text.text);
  return lines(text.text);
}

function lines(text) {
  const out = document.createDocumentFragment();
  text.split("\n").forEach((line, n) => out.append(...(n ? [el("br"), line] : [line])));
  return out;
}

function rich(element) {
  const parts = (element.elements || []).map((part) => {
    let node = part.type === "link" ? anchor(part.url, part.text || part.url) : document.createTextNode(part.text || "");
    for (const [style, tag] of [["bold", "strong"], ["italic", "em"], ["strike", "s"], ["code", "code"]]) {
      if (part.style?.[style]) node = el(tag, "", node);
    }
    return node;
  });
  const tag = { rich_text_preformatted: "pre", rich_text_quote: "blockquote" }[element.type] || "div";
  return el(tag, tag === "div" ? "s-section" : "", ...parts);
}

function block(block) {
  switch (block.type) {
    case "header": return el("div", "s-header", textObject(block.text));
    case "section": {
      const out = el("div", "s-section", textObject(block.text));
      if (block.fields) out.append(el("div", "s-fields", ...block.fields.map((f) => el("div", "", textObject(f)))));
      return out;
    }
    case "context": return el("div", "s-context", ...block.elements.flatMap((e) => [textObject(e), " "]));
    case "divider": return el("hr", "s-divider");
    case "rich_text": return el("div", "", ...block.elements.map(rich));
    default: return el("div", "s-context", `[${block.type}]`);
  }
}

function logo() {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "4 4 24 24");
  for (const [d, fill, stroke] of [["M7 13v6h4l9 5V8l-9 5z", "#fff", "none"], ["M23.5 12a5.5 5.5 0 0 1 0 8", "none", "#fff"]]) {
    const path = document.createElementNS(ns, "path");
    path.setAttribute("d", d);
    path.setAttribute("fill", fill);
    path.setAttribute("stroke", stroke);
    path.setAttribute("stroke-width", "2");
    svg.append(path);
  }
  return el("div", "avatar", svg);
}

const messages = new Map();

function slack(message) {
  const box = $("slack");
  const id = `${message.channel}/${message.ts}`;
  let known = messages.get(id);
  const body = el("div", "content");
  for (const b of message.payload.blocks || []) body.append(block(b));
  for (const a of message.payload.attachments || []) {
    const attachment = el("div", "attachment", ...(a.blocks || []).map(block));
    if (/^#[0-9a-f]{6}$/i.test(a.color || "")) attachment.style.borderLeftColor = a.color;
    body.append(attachment);
  }
  if (!body.childNodes.length) body.append(mrkdwn(message.payload.text || ""));
  if (message.edits) body.append(el("span", "edited", "(edited)"));
  follow(box, () => {
    fill(box);
    if (known) {
      known.body.replaceWith(body);
      known.body = body;
      return;
    }
    const thread = el("div", "thread");
    const node = el("div", "message", logo(), el("div", "", el("div", "by", el("b", "", "kubeherald"), el("i", "", "APP"), time(message.at)), body), thread);
    const parent = message.thread_ts && messages.get(`${message.channel}/${message.thread_ts}`);
    const incident = parent ? parent.node.dataset.incident : /incident ([0-9a-z]+)/.exec(JSON.stringify(message.payload))?.[1];
    known = { node, body, thread };
    messages.set(id, known);
    if (!parent) link(node, incident);
    (parent ? parent.thread : box).append(node);
  });
}

// === Webhook ===

function json(value, depth) {
  const pad = "\n" + "  ".repeat(depth + 1);
  const end = "\n" + "  ".repeat(depth);
  if (value === null || typeof value !== "object") {
    return el("span", typeof value === "string" ? "s" : "v", JSON.stringify(value));
  }
  const list = Array.isArray(value);
  const [open, close] = list ? ["[", "]"] : ["{", "}"];
  const keys = Object.keys(value);
  if (!keys.length) return document.createTextNode(open + close);
  const inner = document.createDocumentFragment();
  keys.forEach((key, n) => {
    inner.append(pad);
    if (!list) inner.append(el("span", "k", JSON.stringify(key)), ": ");
    inner.append(json(value[key], depth + 1), n < keys.length - 1 ? "," : "");
  });
  if (depth === 0) return el("span", "", open, inner, end, close);
  // A click on the bracket folds what is inside.
  const body = el("span", "", inner, end);
  const fold = el("button", "fold", open);
  fold.addEventListener("click", () => {
    body.hidden = !body.hidden;
    fold.textContent = body.hidden ? `${open} … ` : open;
  });
  return el("span", "", fold, body, close);
}

let touched = false;

function webhook(request) {
  const box = $("hook");
  const body = request.body || {};
  const head = el("span", "h", `POST ${request.path}\n`);
  for (const [name, value] of request.headers) head.append(el("b", "", name), `: ${value}\n`);
  const state = mood(body.decision, body.severity);
  const summary = el("summary", "", el("i", `chip ${state}`, body.decision || "?"), el("span", "", body.title || ""), time(body.at));
  const details = el("details", "request", summary, el("pre", "json", head, "\n", json(body, 0)));
  link(details, body.thread);
  summary.addEventListener("click", () => { touched = true; });
  fill(box);
  if (!touched) {
    for (const other of box.children) other.open = false;
    details.open = true;
  }
  box.prepend(details);
  if (!touched) box.scrollTop = 0;
  told(body);
  count(body);
}

const state = new Map();

function count(body) {
  for (const incident of body.incidents || []) state.set(incident.id, mood(body.decision, body.severity) === "resolved");
  const resolved = [...state.values()].filter(Boolean).length;
  $("resolved").textContent = resolved;
  $("firing").textContent = state.size - resolved;
}

// === Mailbox ===

let chosen = false;
let shown = null;

function mail(mail) {
  const box = $("mails");
  fill(box);
  const severity = /^\[(\w+)\]/.exec(mail.subject || "")?.[1];
  const subject = (mail.subject || "").replace(/^\[\w+\] ([^:]+): /, "");
  const item = el("li", "unread", el("p", "", el("i", `chip ${mood(mail.decision, severity)}`, mood(mail.decision, severity) || "mail"), " ", subject), time(mail.at));
  item.title = mail.subject || "";
  link(item, mail.thread);
  item.addEventListener("click", () => { chosen = true; open(mail, item); });
  box.prepend(item);
  if (!chosen) open(mail, item);
}

function open(mail, item) {
  shown?.classList.remove("open");
  shown = item;
  item.classList.add("open");
  item.classList.remove("unread");
  $("mail").hidden = false;
  $("m-subject").textContent = mail.subject || "";
  $("m-from").textContent = mail.from || "";
  $("m-to").textContent = mail.to || "";
  frame(mail.html || "");
  $("m-plain").textContent = mail.text || "";
}

// Each mail gets a frame of its own. One frame that is given one document after the other shows whichever loads
// last, and the browser keeps those before in its history and restores one of them when the page is loaded again.
function frame(html) {
  const before = $("m-frame");
  const next = el("iframe", "");
  next.id = before.id;
  next.title = before.title;
  next.setAttribute("sandbox", "");
  next.hidden = before.hidden;
  next.srcdoc = html;
  before.replaceWith(next);
}

function part(html) {
  $("m-frame").hidden = !html;
  $("m-plain").hidden = html;
  $("m-html").setAttribute("aria-pressed", html);
  $("m-text").setAttribute("aria-pressed", !html);
}
$("m-html").addEventListener("click", () => part(true));
$("m-text").addEventListener("click", () => part(false));

// === The numbers ===

const LENGTH = 30 * 60 * 1000;

function counts(now) {
  $("writes").textContent = grouped(now.writes);
  $("messages").textContent = grouped(now.messages);
  $("each").textContent = now.messages ? `one message for every ${grouped(Math.round(now.writes / now.messages))} writes; none for normal life` : "";
  $("clock").textContent = clock(now.clock);
  $("pods").textContent = `${now.pods} pods on ${now.nodes} nodes`;
  $("progress").style.width = `${Math.min(100, (100 * (now.clock - now.began)) / LENGTH)}%`;
  status(now.over ? "the story is over, life goes on" : "half an hour in a minute", true);
}

function status(text, live) {
  $("state").className = live ? "live" : "";
  $("state").replaceChildren(el("i", "dot"), text);
}

// === The stream ===

let last = 0;
const source = new EventSource("/events");
for (const [kind, show] of Object.entries({ cluster, slack, webhook, mail })) {
  source.addEventListener(kind, (event) => {
    // Another demonstration has begun behind the same address.
    if (Number(event.lastEventId) <= last) return void location.reload();
    last = Number(event.lastEventId);
    show(JSON.parse(event.data));
  });
}
source.addEventListener("counts", (event) => counts(JSON.parse(event.data)));
source.addEventListener("error", () => status("the demonstration has ended", false));
