/** Operations view: drains, moves and rebalancings, how far they are, and the rooms that move just now. */
import { make } from "../line-view.js";
import { nameLink, redraw } from "./facts.js";

const MOST = 8;
const MOST_MOVING = 12;
const MOST_MOVES = 100;
const OVER = new Set(["done", "failed", "cancelled"]);
const $ = (id) => document.getElementById(id);

export class OperationsView {
  #words;
  #client;
  #fleet;
  #operations = new Map();
  #said = new Map();
  #open = new Set();

  constructor({ words, client, fleet, select }) {
    this.#words = words;
    this.#client = client;
    this.#fleet = fleet;
    for (const list of [$("operations"), $("moving")]) {
      list.addEventListener("click", ({ target }) => {
        const { cancel, room, node } = target.closest("button")?.dataset ?? {};
        if (cancel) this.#cancel(cancel);
        else if (room) select({ room });
        else if (node) select({ node });
      });
    }
    $("operations").addEventListener("toggle", ({ target }) => this.#toggle(target), true);
    words.onChange(() => this.draw());
  }

  /** Take an operation as it is now (`event: operation`). */
  take(operation) {
    this.#operations.set(operation.id, operation);
    const inOrder = [...this.#operations.values()].sort(byTime);
    for (const { id } of inOrder.slice(MOST)) this.#operations.delete(id);
    this.draw();
  }

  draw() {
    const inOrder = [...this.#operations.values()].sort(byTime);
    const moving = [...this.#fleet.moving.values()];
    $("operations-none").hidden = inOrder.length > 0 || moving.length > 0;
    redraw($("operations"), ...inOrder.map((operation) => this.#item(operation)));
    const chips = moving.slice(0, MOST_MOVING).map(({ room, target, is_warm: isWarm }) =>
      make("li", { data: isWarm ? { warm: "" } : {}, title: this.#words.say(isWarm ? "fact.warm" : "fact.warming") }, nameLink("room", room), ` → ${target}`),
    );
    if (moving.length > MOST_MOVING) chips.push(make("li", {}, this.#words.say("more.rooms", { n: moving.length - MOST_MOVING })));
    $("moving").hidden = chips.length === 0;
    redraw($("moving"), ...chips);
  }

  #item(operation) {
    const { id, kind, subject, state, plan } = operation;
    const words = this.#words;
    const moved = plan.moves.filter((move) => move.state === "done").length;
    const over = plan.moves.filter((move) => OVER.has(move.state)).length;
    const people = plan.moves.reduce((sum, move) => sum + (move.state === "done" ? move.members : 0), 0);
    const name = subject === "" ? words.say(`operation.${kind}`) : words.parts(`operation.${kind}`, { subject });
    const title = make("h3", {}, ...(subject === "" ? [name] : name.map(({ text, field }) => this.#subject(kind, text, field))));
    const shown = operation.is_cancelling && state === "running" ? "cancelling" : state;
    const badge = make("span", { className: "operation-state", data: { state: shown } }, words.say(`operation.state.${shown}`));
    const cancel = make("button", { type: "button", className: "quiet-button", data: { cancel: id, key: `cancel ${id}` } }, words.say("operation.cancel"));
    const isRunning = state === "running";
    const progress = make("progress", { max: Math.max(1, plan.moves.length), value: plan.moves.length === 0 && !isRunning ? 1 : over });
    progress.setAttribute("aria-label", words.say("operation.progress"));
    const ended = operation.ended_at_ms ?? operation.heard_at_ms;
    const took = isRunning ? "" : ` · ${words.about((ended - operation.started_at_ms) / 1000)}`;
    const facts = words.say("operation.moved", { moved, n: plan.moves.length, people: words.say("totals.people", { n: people }) });
    const when = make("time", { dateTime: new Date(operation.started_at_ms).toISOString(), title: words.date(operation.started_at_ms) }, words.clock(operation.started_at_ms));
    const problem = operation.problem ?? this.#said.get(id);
    return make(
      "li",
      { className: "operation", data: { operation: id, state: shown } },
      make("div", { className: "operation-head" }, title, badge, when),
      progress,
      make("div", { className: "operation-foot" }, make("p", {}, facts + took), ...(isRunning && !operation.is_cancelling ? [cancel] : [])),
      ...(problem ? [make("p", { className: "failure" }, problem)] : []),
      ...(plan.moves.length > 1 || plan.moves.some((move) => move.problem) ? [this.#moves(operation)] : []),
    );
  }

  #subject(kind, text, field) {
    return field === "subject" ? nameLink(kind === "move" ? "room" : "node", text) : text;
  }

  #moves({ id, plan }) {
    const isOpen = this.#open.has(id);
    const details = make("details", { data: { of: id } }, make("summary", { data: { key: `moves ${id}` } }, this.#words.say("operation.rooms", { n: plan.moves.length })));
    details.toggleAttribute("open", isOpen);
    if (!isOpen) return details;
    const rows = plan.moves.slice(0, MOST_MOVES).map((move) => {
      const took = move.took_ms === null ? "" : ` ${this.#words.say("operation.took", { n: move.took_ms })}`;
      const state = this.#words.say(`move.${move.state}`) + took;
      return make("li", { data: { state: move.state } }, nameLink("room", move.room), make("span", {}, `→ ${move.target}`), make("span", { className: "count" }, state), ...(move.problem ? [make("p", { className: "failure" }, move.problem)] : []));
    });
    if (plan.moves.length > MOST_MOVES) rows.push(make("li", {}, this.#words.say("more.rooms", { n: plan.moves.length - MOST_MOVES })));
    details.append(make("ol", {}, ...rows));
    return details;
  }

  #toggle(details) {
    const id = details.dataset.of;
    if (details.open === this.#open.has(id)) return;
    if (details.open) this.#open.add(id);
    else this.#open.delete(id);
    this.draw();
  }

  async #cancel(id) {
    this.#said.delete(id);
    try {
      await this.#client.cancel(id);
      const operation = this.#operations.get(id);
      if (operation?.state === "running") this.#operations.set(id, { ...operation, is_cancelling: true });
    } catch (error) {
      this.#said.set(id, this.#words.why(error));
    }
    this.draw();
  }
}

const byTime = (a, b) => Number(b.state === "running") - Number(a.state === "running") || b.started_at_ms - a.started_at_ms;
