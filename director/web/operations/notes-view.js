/** Notes view: what happens in the fleet, the newest first. */
import { make } from "../line-view.js";

const MOST = 100;
const $ = (id) => document.getElementById(id);

export class NotesView {
  #words;
  #heard;
  #notes = [];
  #waiting = [];
  #frame = null;

  /** `heard(note)` is told of each. */
  constructor({ words, select, heard }) {
    this.#words = words;
    this.#heard = heard;
    $("notes").addEventListener("click", ({ target }) => {
      const { room, node } = target.closest("button")?.dataset ?? {};
      if (room) select({ room });
      else if (node) select({ node });
    });
    words.onChange(() => {
      this.#waiting = this.#notes;
      this.#notes = [];
      $("notes").replaceChildren();
      this.#draw();
    });
  }

  /** Forget all: they are told anew. */
  reset() {
    this.#notes = this.#waiting = [];
    $("notes").replaceChildren();
    $("notes-none").hidden = false;
  }

  /** Show a note with those that come in the same moment: there may be hundreds. */
  take(note) {
    this.#heard(note);
    this.#waiting = [...this.#waiting, note].slice(-MOST);
    this.#frame ??= setTimeout(() => this.#draw(), 0); // not an animation frame: those of a hidden page never come
  }

  #draw() {
    clearTimeout(this.#frame);
    this.#frame = null;
    this.#notes = [...this.#notes, ...this.#waiting].slice(-MOST);
    $("notes-none").hidden = this.#notes.length > 0;
    $("notes").prepend(...this.#waiting.map((note) => this.#item(note)).reverse());
    while ($("notes").childElementCount > MOST) $("notes").lastElementChild.remove();
    this.#waiting = [];
  }

  #item(note) {
    const at = new Date(note.at_ms);
    const time = make("time", { dateTime: at.toISOString(), title: this.#words.date(at) }, this.#words.clock(at));
    return make("li", { className: "note", data: { kind: note.kind } }, time, make("p", {}, ...this.#said(note)));
  }

  /** The sentence, with buttons where it names a room or a node. */
  #said(note) {
    const words = this.#words;
    const kind = note.kind === "room_moved" && !note.source ? "room_moved_back" : note.kind;
    const key = words.has(`note.${kind}`) ? `note.${kind}` : "note.other";
    const state = note.state ? words.say(`state.${note.state}`) : "";
    const why = note.why ? words.reason(note.why) : "";
    return words.parts(key, { ...note, kind: note.kind, state, why, n: note.count }).map(({ text, field }) => {
      const isNode = field === "node" || field === "source";
      if (!text || (field !== "room" && !isNode)) return text;
      const data = isNode ? { node: text } : { room: text };
      return make("button", { type: "button", className: "name-link", data }, text);
    });
  }
}
