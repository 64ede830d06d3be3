/**
 * The transcript on the page: draws at most once per animation frame, stays at the newest line while the reader does, and
 * stands still as soon as the reader scrolls up.
 */
import { make } from "./line-view.js";

const NEAR_PX = 48;
const PAGE = 100;
const CLOSE_MS = 3 * 60 * 1000;
const $ = (id) => document.getElementById(id);

export class TranscriptView {
  #transcript;
  #outgoing;
  #views;
  #words;
  #acts;
  #me = null;
  #you = null;
  #drawn = new Map(); // key -> {item, stamp}
  #isDue = false;
  #isReset = true;
  #earlierFailed = false;
  #scroller = $("scroller");
  #lines = $("lines");
  #toolbar;

  /** `acts`: reply(entry), delete(entry) -> Request, retry(request), discard(request), history(range) -> Promise. */
  constructor({ transcript, outgoing, views, words, acts }) {
    this.#transcript = transcript;
    this.#outgoing = outgoing;
    this.#views = views;
    this.#words = words;
    this.#acts = acts;
    this.#toolbar = new LineToolbar(words, acts);
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#scroller.addEventListener("keydown", (event) => this.#walk(event));
    this.#scroller.addEventListener("click", (event) => this.#clicked(event));
    this.#lines.addEventListener("pointerover", (event) => this.#offer(event.target));
    this.#lines.addEventListener("focusin", (event) => this.#offer(event.target));
    $("earlier").addEventListener("click", () => this.#loadEarlier());
    $("unread").addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.#transcript.follows && this.#toEnd()).observe(this.#scroller);
    words.onChange(() => this.redraw());
  }

  set you(you) {
    this.#you = you;
    this.#me = you.id;
    this.#toolbar.you = you;
  }

  /** The transcript was begun anew: nothing of it is news to announce. */
  reset() {
    this.#isReset = true;
    this.redraw();
  }

  redraw() {
    this.#drawn.clear();
    this.#lines.replaceChildren();
    this.draw();
  }

  /** Draw what has changed, in the next animation frame. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#drawNow();
    });
  }

  follow() {
    this.#transcript.follow();
    this.draw();
  }

  /** Bring the line of an entry into view. */
  reveal(seq) {
    const item = this.#drawn.get(`e${seq}`)?.item;
    if (!item) return;
    item.scrollIntoView({ block: "center" });
    item.focus({ preventScroll: true });
    item.classList.remove("found");
    requestAnimationFrame(() => item.classList.add("found"));
  }

  #drawNow() {
    const scroller = this.#scroller;
    const log = $("log");
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    const { lines, follows } = this.#transcript;
    log.setAttribute("aria-busy", String(this.#isReset));
    this.#drawLines(lines);
    $("outgoing").replaceChildren(...this.#outgoing.requests.map((request) => this.#outgoingItem(request)));
    if (!this.#transcript.hasEarlier && document.activeElement === $("earlier")) scroller.focus({ preventScroll: true });
    $("earlier").hidden = !this.#transcript.hasEarlier;
    $("earlier").textContent = this.#words.say(this.#earlierFailed ? "list.earlierFailed" : "list.earlier");
    $("beginning").hidden = this.#transcript.hasEarlier || this.#isReset;
    this.#drawUnread();
    if (follows) this.#toEnd();
    else if (this.#keepsFromEnd) scroller.scrollTop = scroller.scrollHeight - fromEnd;
    this.#keepsFromEnd = false;
    if (this.#isReset && this.#me !== null) {
      this.#isReset = false;
      this.draw(); // the announcing begins after what was there already
    }
  }
  #keepsFromEnd = false;

  #drawLines(lines) {
    const wanted = new Set(lines.map((line) => line.key));
    for (const [key, { item }] of this.#drawn) {
      if (wanted.has(key)) continue;
      if (item.contains(document.activeElement)) this.#scroller.focus({ preventScroll: true });
      item.remove();
      this.#drawn.delete(key);
    }
    let before = this.#lines.firstElementChild;
    let former = null;
    for (const line of lines) {
      const isNext = isCloseTo(former, line);
      const stamp = `${line.version} ${isNext}`;
      let drawn = this.#drawn.get(line.key);
      if (drawn?.stamp !== stamp) {
        const item = this.#views.line(line, { me: this.#me, isNext });
        if (drawn) {
          if (before === drawn.item) before = item;
          const hadFocus = drawn.item.contains(document.activeElement);
          drawn.item.replaceWith(item);
          if (hadFocus) item.focus({ preventScroll: true });
        }
        item.dataset.key = line.key;
        drawn = { item, stamp, line };
        this.#drawn.set(line.key, drawn);
      }
      if (drawn.item === before) before = before.nextElementSibling;
      else this.#lines.insertBefore(drawn.item, before);
      former = line;
    }
  }

  #outgoingItem(request) {
    const item = this.#views.outgoing(request, this.#you ?? { id: "", name: "", role: "student" });
    item.addEventListener("click", ({ target }) => {
      const act = target.closest("[data-act]")?.dataset.act;
      if (act === "retry") this.#acts.retry(request);
      if (act === "discard") this.#acts.discard(request);
    });
    return item;
  }

  #drawUnread() {
    const { follows, unread } = this.#transcript;
    const button = $("unread");
    button.hidden = follows;
    const text = unread > 0 ? this.#words.say("list.unread", { n: unread }) : this.#words.say("list.latest");
    if (button.textContent !== text) button.textContent = text;
    button.toggleAttribute("data-news", unread > 0);
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (isNear === this.#transcript.follows) return;
    if (isNear) this.#transcript.follow();
    else this.#transcript.pause();
    this.draw();
  }

  async #loadEarlier() {
    const before = this.#transcript.earlierThan;
    const button = $("earlier");
    if (before === null || button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    try {
      const page = await this.#acts.history({ before, limit: PAGE });
      if (this.#transcript.earlierThan !== before) return; // the list was begun anew meanwhile
      this.#transcript.prepend(page.entries, page);
      this.#earlierFailed = false;
      this.#keepsFromEnd = true;
    } catch {
      this.#earlierFailed = true;
    } finally {
      button.ariaBusy = "false";
      this.draw();
    }
  }

  async #fill(key) {
    const line = this.#drawn.get(key)?.line;
    if (!line?.gap) return;
    try {
      const limit = Math.min(2 * PAGE, line.to - line.from + 1);
      const { entries } = await this.#acts.history({ after: line.from - 1, limit });
      this.#transcript.fill(line, entries);
    } catch {
      line.version += 1; // drawn anew: it can be tried again
    }
    this.draw();
  }

  #clicked({ target }) {
    const { act, seq } = target.closest("[data-act]")?.dataset ?? {};
    const key = target.closest("li[data-key]")?.dataset.key;
    if (act === "reveal") this.reveal(Number(seq));
    else if (act === "fill") this.#fill(key);
    else this.#offer(target);
  }

  #offer(target) {
    const item = target.closest?.("li[data-key]");
    if (item) this.#toolbar.offer(item, this.#drawn.get(item.dataset.key)?.line.entry);
  }

  /** Arrow keys, Home and End move between messages. */
  #walk(event) {
    if (!["ArrowUp", "ArrowDown", "Home", "End"].includes(event.key) || event.ctrlKey || event.metaKey) return;
    const items = [...this.#lines.children];
    const at = items.indexOf(document.activeElement.closest?.("li[data-key]"));
    const next = {
      ArrowUp: at === -1 ? items.length - 1 : Math.max(0, at - 1),
      ArrowDown: at === -1 ? items.length - 1 : Math.min(items.length - 1, at + 1),
      Home: 0,
      End: items.length - 1,
    }[event.key];
    if (!items[next]) return;
    event.preventDefault();
    items[next].focus({ preventScroll: true });
    items[next].scrollIntoView({ block: "nearest" });
  }
}

/** Whether a line reads on from the one before: the same author, soon after, nothing that stands apart. */
function isCloseTo(former, line) {
  const [a, b] = [former?.entry, line.entry];
  if (!a || !b || a.kind !== "message" || b.kind !== "message" || b.reply_to) return false;
  return a.by.id === b.by.id && b.at - a.at < CLOSE_MS;
}

/** What can be done with a message: one toolbar that goes to the line under the pointer, or in focus. */
class LineToolbar {
  #words;
  #acts;
  #entry = null;
  #element = make("div", { className: "toolbar", attributes: { role: "toolbar" } });
  you = null;

  constructor(words, acts) {
    this.#words = words;
    this.#acts = acts;
  }

  offer(item, entry) {
    if (this.#element.parentElement === item) return;
    this.#element.remove();
    if (!entry || entry.deleted || !["message", "question"].includes(entry.kind) || !this.you) return;
    this.#entry = entry;
    const mayDelete = entry.by.id === this.you.id || this.you.role !== "student";
    const reply = this.#button("line.reply", () => this.#acts.reply(this.#entry));
    this.#element.replaceChildren(reply, ...(mayDelete ? [this.#deleteButton()] : []));
    this.#element.setAttribute("aria-label", this.#words.say("line.actions"));
    item.append(this.#element);
  }

  #deleteButton() {
    const button = this.#button("line.delete", () => {
      if (button.dataset.sure === undefined) {
        button.dataset.sure = ""; // asked once more, in place
        button.textContent = this.#words.say("line.deleteSure");
        return;
      }
      if (button.ariaDisabled === "true") return; // not `disabled`, which would throw the focus away
      button.ariaDisabled = "true";
      this.#acts.delete(this.#entry).done.catch((error) => {
        button.ariaDisabled = null;
        button.textContent = this.#words.say("controls.failed", { why: this.#words.why(error) });
      });
    });
    button.classList.add("danger");
    return button;
  }

  #button(key, onClick) {
    const button = make("button", { type: "button" }, this.#words.say(key));
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      onClick();
    });
    return button;
  }
}
