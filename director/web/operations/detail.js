/** Detail: the node or the room that was chosen, on the board, with what can be ordered of it. */
import { NodeDetail } from "./node-detail.js";
import { RoomDetail } from "./room-detail.js";

const EXPLAIN_EVERY_MS = 3_000;
const SOON_MS = 250;
const $ = (id) => document.getElementById(id);

export class Detail {
  #words;
  #client;
  #fleet;
  #nodes;
  #rooms;
  #selection = null;
  #explanation = null;
  #askedAt = 0;
  #soon;
  #from = null;

  /** `select` shows another one, or none with null. */
  constructor({ words, client, fleet, plans, select }) {
    this.#words = words;
    this.#client = client;
    this.#fleet = fleet;
    const act = (work) => this.#act(work);
    this.#nodes = new NodeDetail({ words, client, plans, act });
    this.#rooms = new RoomDetail({ words, client, plans, act });
    $("detail-close").addEventListener("click", () => select(null));
    $("detail-body").addEventListener("click", ({ target }) => {
      const { room, node } = target.closest(".name-link")?.dataset ?? {};
      if (room) select({ room });
      else if (node) select({ node });
    });
    words.onChange(() => this.draw());
  }

  get selection() {
    return this.#selection;
  }

  /** {node}, {room} or null. What had the focus before gets it back when the board is cleared. */
  set selection(selection) {
    const { node, room } = this.#selection ?? {};
    if (selection?.node === node && selection?.room === room) return;
    if (this.#selection === null) this.#from = document.activeElement;
    this.#selection = selection;
    this.#explanation = null;
    clearTimeout(this.#soon);
    $("detail").hidden = selection === null;
    $("hall").toggleAttribute("data-chosen", selection !== null);
    $("detail-body").replaceChildren();
    $("detail-said").textContent = "";
    if (selection === null) {
      if (this.#from?.isConnected) this.#from.focus({ preventScroll: true });
      return;
    }
    this.draw();
    $("detail-title").focus({ preventScroll: true });
    document.querySelector(".stage").scrollTop = 0;
    if (selection.room) this.#explain();
  }

  /** The fleet may have changed. */
  draw() {
    const { node, room } = this.#selection ?? {};
    if (!node && !room) return;
    $("detail-kind").textContent = this.#words.say(node ? "detail.node" : "detail.room");
    $("detail-title").textContent = node ?? room;
    if (node) this.#nodes.draw(this.#fleet.nodes.get(node), this.#fleet);
    else {
      this.#rooms.draw(this.#explanation, this.#fleet);
      if (performance.now() - this.#askedAt > EXPLAIN_EVERY_MS) this.#explain();
    }
  }

  /** Something happened: if it is about the room that is shown, ask anew, soon. */
  hear({ room, kind }) {
    if (!this.#selection?.room || (room !== this.#selection.room && kind !== "orders_changed")) return;
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#explain(), SOON_MS);
  }

  async #explain() {
    const room = this.#selection?.room;
    if (!room) return;
    this.#askedAt = performance.now();
    try {
      const explanation = await this.#client.explain(room);
      if (this.#selection?.room !== room) return;
      this.#explanation = explanation;
      this.#rooms.draw(explanation, this.#fleet);
    } catch (error) {
      if (this.#selection?.room === room && !this.#explanation) this.#say(this.#words.why(error));
    }
  }

  /** Do something that was asked for, and say whether it worked. */
  async #act(work) {
    const selection = this.#selection;
    this.#say("");
    try {
      await work();
      if (this.#selection === selection) this.#say(this.#words.say("done"));
      if (selection.room) this.#explain();
    } catch (error) {
      if (this.#selection === selection) this.#say(this.#words.say("failed", { why: this.#words.why(error) }));
    }
  }

  #say(text) {
    $("detail-said").textContent = text;
  }
}
