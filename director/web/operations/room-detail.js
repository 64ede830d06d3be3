/** Room detail: the director's explanation of a room, and the orders to move it and to pin it. */
import { make } from "../line-view.js";
import { facts, nameLink, redraw } from "./facts.js";
import { seconds } from "./floor-view.js";

const MOST_PREFERRED = 6;
const $ = (id) => document.getElementById(id);

export class RoomDetail {
  #words;
  #acts;
  #explained = null;

  constructor({ words, client, plans, act }) {
    this.#words = words;
    const room = () => this.#explained.room;
    this.#acts = {
      move: () => plans.move(room(), this.#chosen()),
      pin: () => act(() => client.pin(room(), this.#chosen())),
      unpin: () => act(() => client.unpin(room())),
    };
    $("detail-body").addEventListener("click", ({ target }) => {
      const name = target.closest("[data-room-act]")?.dataset.roomAct;
      if (name) this.#acts[name]();
    });
  }

  /** `explained` is the director's answer, null while it is awaited. */
  draw(explained, fleet) {
    const body = $("detail-body");
    const former = body.querySelector("#room-to")?.value;
    this.#explained = explained;
    if (!explained) {
      if (body.childElementCount === 0) redraw(body, make("p", { className: "quiet" }, this.#words.say("detail.asking")));
      return;
    }
    if (document.activeElement?.id === "room-to" && body.dataset.room === explained.room) return; // it may be open
    body.dataset.room = explained.room;
    redraw(body, this.#facts(explained), this.#form(explained, fleet), ...this.#preferred(explained), ...this.#past(explained));
    const to = body.querySelector("#room-to");
    if (to && [...to.options].some(({ value }) => value === former)) to.value = former;
  }

  #chosen() {
    return document.getElementById("room-to").value;
  }

  #facts(room) {
    const say = (key, fields) => this.#words.say(key, fields);
    const pairs = [[say("fact.owner"), room.owner ? this.#owner(room) : say("fact.noOwner")]];
    if (room.owner) {
      pairs.push(
        [say("fact.why"), this.#words.reason(room.why)],
        [say("fact.people"), say("fact.peoplePeak", { n: room.members, peak: room.peak })],
        [say("fact.epoch"), say("fact.epochMoves", { epoch: String(room.epoch), n: room.moves })],
      );
    }
    pairs.push(
      [say("fact.counts"), say("fact.countsFor", { load: room.load })],
      [say("fact.moving"), room.target ? [...this.#link("fact.movingTo", room.target), this.#movingWhy(room)] : null],
      [say("fact.reserved"), room.reserved ? say("fact.reservedFor", { n: room.reserved }) : null],
      [say("fact.pinned"), room.pinned ? [nameLink("node", room.pinned)] : null],
      [say("fact.wouldGo"), this.#wouldGo(room)],
    );
    return facts(pairs);
  }

  #owner(room) {
    const state = this.#words.say(`state.${room.owner_state}`);
    const lease = room.lease_left_ms === null ? "" : `, ${this.#words.say("lease.left", { n: seconds(room.lease_left_ms) })}`;
    return [nameLink("node", room.owner), make("span", { className: "aside" }, `${state}${lease}`)];
  }

  #movingWhy(room) {
    const why = room.target_why ? this.#words.reason(room.target_why) : "";
    const warm = this.#words.say(room.is_warm ? "fact.warm" : "fact.warming");
    return make("span", { className: "aside" }, [why, warm].filter(Boolean).join(", "));
  }

  #wouldGo({ owner, would_go_to: next }) {
    if (next === null) return this.#words.say("fact.nowhere");
    if (next.node === owner) return null;
    return [nameLink("node", next.node), make("span", { className: "aside" }, this.#words.reason(next.why))];
  }

  #link(key, node) {
    return this.#words.parts(key, { node }).map(({ text, field }) => (field === "node" ? nameLink("node", text) : text));
  }

  /** Where to: any other node that serves. */
  #form(room, fleet) {
    const say = (key) => this.#words.say(key);
    const serving = [...fleet.nodes.values()].filter((node) => node.state === "serving" && !node.has_lapsed);
    const options = serving.map(({ node, load, limit }) => {
      const text = limit === null ? node : this.#words.say("node.option", { node, load, limit });
      return make("option", { value: node }, node === room.owner ? `${node} (${say("fact.ownerHere")})` : text);
    });
    const other = serving.find(({ node }) => node === room.would_go_to?.node && node !== room.owner) ?? serving.find(({ node }) => node !== room.owner);
    for (const option of options) option.toggleAttribute("selected", option.value === other?.node);
    const select = make("select", { id: "room-to", data: { key: "to" } }, ...options);
    const button = (name, isOff = false) =>
      make("button", { type: "button", className: "chalk", disabled: isOff, data: { roomAct: name, key: name } }, say(`act.${name}`));
    const buttons = [button("move", !room.owner || options.length === 0), button("pin", options.length === 0)];
    if (room.pinned) buttons.push(button("unpin"));
    const label = make("label", { className: "field" }, make("span", {}, say("act.to")), select);
    return make("div", { className: "orders" }, label, make("div", { className: "row" }, ...buttons));
  }

  #preferred({ ring, owner }) {
    if (ring.length === 0) return [];
    const links = ring.slice(0, MOST_PREFERRED).map((node) => {
      const link = nameLink("node", node);
      if (node === owner) link.dataset.owner = "";
      return make("li", {}, link);
    });
    if (ring.length > MOST_PREFERRED) links.push(make("li", { className: "quiet" }, this.#words.say("more.rows", { n: ring.length - MOST_PREFERRED })));
    return [make("h3", {}, this.#words.say("detail.ring")), make("ol", { className: "chips" }, ...links)];
  }

  #past({ past }) {
    if (past === null) return [make("p", { className: "quiet" }, this.#words.say("detail.pastUnknown"))];
    if (past.length === 0) return [];
    const rows = past.map(({ at_ms: atMs, source, target, epoch, why }) => {
      const time = make("time", { dateTime: new Date(atMs).toISOString(), title: this.#words.date(atMs) }, this.#words.clock(atMs));
      const way = source ? this.#words.parts("past.moved", { source, target }) : this.#words.parts("past.first", { target });
      const sentence = way.map(({ text, field }) => (field ? nameLink("node", text) : text));
      const aside = `${this.#words.reason(why)} · ${this.#words.say("past.epoch", { epoch: String(epoch) })}`;
      return make("li", {}, time, make("p", {}, ...sentence, make("span", { className: "aside" }, aside)));
    });
    return [make("h3", {}, this.#words.say("detail.past")), make("ol", { className: "past" }, ...rows)];
  }
}
