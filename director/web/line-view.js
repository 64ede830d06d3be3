/** Views of single lines: an entry, a skipped range, an outgoing message. Text is only ever set as text. */

const HUES = 8;
const EXCERPT = 120;
const STAFF = new Set(["lecturer", "assistant"]);

/** An element with classes, properties and children; strings become text. */
export function make(tag, { className = "", data = {}, attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (className) element.className = className;
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** The beginning of a text, on one line. */
export function excerpt(text) {
  const line = (text ?? "").replace(/\s+/g, " ").trim();
  const points = [...line];
  return points.length > EXCERPT ? `${points.slice(0, EXCERPT).join("")}…` : line;
}

const hueOf = (id) => [...id].reduce((sum, point) => (sum * 31 + point.codePointAt(0)) % 9973, 7) % HUES;

/** One or two letters that stand for a name. */
export function initials(name) {
  const all = name.trim().split(/\s+/);
  const plain = all.filter((word) => !word.endsWith(".")); // not the Prof. and the Dr.
  const words = (plain.length > 0 ? plain : all).map((word) => word.replace(/\p{P}/gu, "")).filter(Boolean);
  if (words.length === 0) return "·";
  const [first] = [...words[0]];
  if (words.length === 1 || !/\p{Script=Latin}/u.test(first)) return first.toUpperCase();
  return (first + [...words[words.length - 1]][0]).toUpperCase();
}

export class LineView {
  #words;
  #lineOf;

  /** `lineOf(seq)` finds the line that another one replies to. */
  constructor(words, lineOf) {
    this.#words = words;
    this.#lineOf = lineOf;
  }

  /** The list item for a line. `isNext`: it follows one by the same author closely. */
  line(line, { me, isNext }) {
    if (line.gap) return this.#gap(line);
    return line.entry.kind === "message" || line.entry.kind === "question"
      ? this.#spoken(line.entry, { me, isNext })
      : this.#told(line.entry);
  }

  #gap(line) {
    const say = this.#words;
    const button = make("button", { type: "button", className: "link", data: { act: "fill" } }, say.say("list.fill"));
    return make("li", { className: "line told gap", tabIndex: -1 }, say.say("list.gap", { n: line.count }), " ", button);
  }

  #told(entry) {
    const { name } = entry.by;
    const text = excerpt(entry.text);
    const said =
      entry.kind === "mode"
        ? this.#words.say("line.mode", { name, mode: this.#words.mode(entry) })
        : this.#words.say(text ? "line.noticeUp" : "line.noticeDown", { name, text });
    return make("li", { className: "line told", tabIndex: -1, data: { kind: entry.kind } }, said);
  }

  #spoken(entry, { me, isNext }) {
    const { by, at, deleted, kind } = entry;
    const isMine = by.id === me;
    const item = this.#frame({ by, isMine, isNext, kind, deleted: Boolean(deleted) });
    const body = item.lastElementChild;
    const time = make("time", { dateTime: new Date(at).toISOString(), title: this.#words.date(at) }, this.#words.time(at));
    const mark = isMine ? make("span", { className: "mark", title: this.#words.say("send.sent") }, this.#tick()) : null;
    const when = make("span", { className: "when" }, time, mark);
    if (isMine) item.dataset.state = "sent";
    if (isNext) body.append(when);
    else body.append(this.#head({ by, isMine }, when));
    this.#fillBody(body, entry);
    return item;
  }

  /** The list item for something that is being sent. */
  outgoing(request, you) {
    const { text, kind, reply_to: replyTo } = request.body;
    const item = this.#frame({ by: you, isMine: true, isNext: false, kind, deleted: false });
    item.dataset.state = request.state;
    const mark = make("span", { className: "mark" });
    if (request.state === "sending") mark.textContent = this.#words.say("send.sending");
    if (request.state === "sent") mark.append(this.#tick());
    const body = item.lastElementChild;
    body.append(this.#head({ by: you, isMine: true }, make("span", { className: "when" }, mark)));
    this.#fillBody(body, { text, kind, reply_to: replyTo });
    if (request.state === "failed") {
      const why = this.#words.say("send.failed", { why: this.#words.why(request.error) });
      const button = (act) => make("button", { type: "button", className: "link", data: { act } }, this.#words.say(`send.${act}`));
      body.append(make("p", { className: "failure", attributes: { role: "alert" } }, why, " ", button("retry"), " ", button("discard")));
    }
    return item;
  }

  #frame({ by, isMine, isNext, kind, deleted }) {
    const data = { kind, ...(isMine && { mine: "" }), ...(STAFF.has(by.role) && { staff: "" }), ...(isNext && { next: "" }) };
    const item = make("li", { className: "line", tabIndex: -1, data: { ...data, ...(deleted && { deleted: "" }) } });
    const face = make("span", { className: "face", data: { hue: hueOf(by.id) }, ariaHidden: "true" }, initials(by.name));
    item.append(isNext ? make("span", { className: "face-space" }) : face, make("div", { className: "body" }));
    return item;
  }

  #head({ by, isMine }, when) {
    const head = make("p", { className: "head" }, make("bdi", { className: "name" }, by.name));
    if (isMine) head.append(make("span", { className: "badge you" }, this.#words.say("line.you")));
    if (STAFF.has(by.role)) head.append(make("span", { className: "badge staff" }, this.#words.say(`role.${by.role}`)));
    head.append(when);
    return head;
  }

  #fillBody(body, { text, kind, reply_to: replyTo, deleted }) {
    if (replyTo) body.append(this.#quote(replyTo));
    if (kind === "question" && !deleted) {
      body.append(make("p", { className: "question-mark" }, this.#words.say("line.question")));
    }
    const said = deleted ? this.#words.say("line.deleted") : (text ?? "");
    body.append(make("p", { className: "text", dir: "auto" }, said));
  }

  #quote(seq) {
    const target = this.#lineOf(seq)?.entry;
    const text = target?.deleted ? this.#words.say("line.deleted") : excerpt(target?.text);
    const said = target
      ? this.#words.say("line.inReply", { name: target.by.name, text })
      : this.#words.say("line.inReplyFar", { n: seq });
    return make("button", { type: "button", className: "quote", tabIndex: -1, data: { act: "reveal", seq } }, said);
  }

  #tick() {
    return make("span", { className: "tick", attributes: { role: "img", "aria-label": this.#words.say("send.sent") } });
  }
}
