/** The operations page's composition root: signs in, listens to the director, builds the views and wires them. */
import { languageOf } from "./i18n/words.js";
import { OperationsWords } from "./i18n/operations-words.js";
import { AdminClient } from "./operations/admin-client.js";
import { Concerns } from "./operations/concerns.js";
import { Detail } from "./operations/detail.js";
import { EventStream } from "./operations/event-stream.js";
import { Fleet } from "./operations/fleet.js";
import { FloorView } from "./operations/floor-view.js";
import { NotesView } from "./operations/notes-view.js";
import { OperationsView } from "./operations/operations-view.js";
import { PlanDialog } from "./operations/plan-dialog.js";
import { RingView } from "./operations/ring-view.js";

const LANGUAGE_KEY = "lecturehall.language";
const MOST_FOUND = 12;
const $ = (id) => document.getElementById(id);

/** A storage that may be forbidden. */
const remembered = (key) => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
};

function chooseWords() {
  const words = new OperationsWords(languageOf([remembered(LANGUAGE_KEY), ...navigator.languages]));
  const translate = () => {
    words.translate(document.documentElement);
    document.title = `${words.say("title")} · lecturehall`;
  };
  words.onChange(translate);
  translate();
  $("language").value = words.language;
  $("language").addEventListener("change", ({ target }) => {
    words.speak(target.value);
    try {
      localStorage.setItem(LANGUAGE_KEY, target.value);
    } catch {
      // it holds until the page is left
    }
  });
  return words;
}

const words = chooseWords();
let stillIn = null; // why signing out has failed
const fleet = new Fleet();
const client = new AdminClient({ onSignedOut: () => leave("door.over") });
const select = (selection) => {
  detail.selection = selection;
  floor.selection = selection;
  ring.selection = selection;
};
const plans = new PlanDialog({ words, client });
const operations = new OperationsView({ words, client, fleet, select });
const detail = new Detail({ words, client, fleet, plans, select });
const floor = new FloorView({ words, fleet, select });
const ring = new RingView({ words, fleet, select });
const concerns = new Concerns({ words, fleet, select });
const notes = new NotesView({ words, select, heard: (note) => detail.hear(note) });

const stream = new EventStream({
  url: "/admin/events",
  mayCome: async () => {
    const isIn = (await client.session()) > 0;
    if (!isIn) leave("door.over");
    return isIn;
  },
  onState: showState,
  hears: {
    opened: () => notes.reset(),
    fleet: (data) => {
      performance.clearMeasures("fleet");
      const began = performance.now();
      fleet.update(JSON.parse(data));
      for (const view of [floor, ring, concerns, operations, detail]) view.draw();
      showTotals();
      performance.measure("fleet", { start: began });
    },
    operation: (data) => operations.take(JSON.parse(data)),
    note: (data) => notes.take(JSON.parse(data)),
  },
});

function showState(state) {
  $("hall").dataset.stream = state;
  $("status").dataset.state = { connecting: "connecting", live: "live", lost: "waiting" }[state];
  $("status-text").textContent = words.say(`status.${state}`);
  $("try-now").hidden = state !== "lost";
  $("lost").hidden = state !== "lost";
  $("lost").textContent =
    state !== "lost" ? "" : fleet.isKnown ? words.say("lost.since", { time: words.date(fleet.atMs) }) : words.say("lost.never");
}

function showTotals() {
  $("totals").textContent = [
    words.say("totals.people", { n: fleet.members }),
    words.say("totals.rooms", { n: fleet.roomCount }),
    words.say("totals.nodes", { n: fleet.nodes.size }),
  ].join(" · ");
}

// -- the door

function enter() {
  $("door").hidden = true;
  $("hall").hidden = false;
  stream.start();
}

/** Back to the door; `why` is what to say there. */
function leave(why = null, fields = {}) {
  stream.stop();
  plans.close();
  select(null);
  showStillIn(null);
  $("hall").hidden = true;
  $("door").hidden = false;
  $("door-said").textContent = why === null ? "" : words.say(why, fields);
  $("door-token").focus();
}

$("door-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  $("door-said").textContent = "";
  try {
    await client.signIn($("door-token").value.trim());
    $("door-token").value = "";
    enter();
  } catch (error) {
    $("door-said").textContent = error.code === "UNAUTHENTICATED" ? words.say("door.wrong") : words.why(error);
    $("door-token").select();
  } finally {
    button.disabled = false;
  }
});

/** Say that signing out has failed, and why; null takes it back. */
function showStillIn(error) {
  stillIn = error;
  $("still-in").hidden = error === null;
  $("still-in").textContent = error === null ? "" : words.say("signOut.failed", { why: words.why(error) });
}

$("sign-out").addEventListener("click", async () => {
  $("sign-out").disabled = true;
  showStillIn(null);
  try {
    await client.signOut();
    leave();
  } catch (error) {
    // No script can take the session away: who left now would leave it to whoever sits down next.
    if (error.code === "UNAUTHENTICATED") leave();
    else showStillIn(error);
  } finally {
    $("sign-out").disabled = false;
  }
});

// -- the page

$("try-now").addEventListener("click", () => stream.hurry());
$("rebalance").addEventListener("click", () => plans.rebalance());
$("more").addEventListener("click", () => {
  const isOpen = $("more").getAttribute("aria-expanded") !== "true";
  $("more").setAttribute("aria-expanded", String(isOpen));
  $("drawer").toggleAttribute("data-open", isOpen);
});
$("find-room").addEventListener("input", ({ target }) => {
  const found = target.value === "" ? [] : fleet.roomsLike(target.value, MOST_FOUND);
  $("find-rooms").replaceChildren(...found.map((room) => new Option(room)));
});
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("find-room").value.trim();
  const [first] = fleet.rooms.has(text) ? [text] : fleet.roomsLike(text, 1);
  if (text !== "") select({ room: first ?? text });
});
globalThis.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("plan").open && detail.selection) select(null);
  if (event.key === "/" && !event.target.closest?.("input, select, textarea, dialog") && !$("hall").hidden) {
    event.preventDefault();
    $("find-room").focus();
  }
});
globalThis.addEventListener("online", () => stream.hurry());
globalThis.addEventListener("pagehide", () => stream.stop());
globalThis.addEventListener("pageshow", ({ persisted }) => persisted && !$("hall").hidden && stream.start());
words.onChange(() => {
  showState(stream.state);
  showStillIn(stillIn);
  if (fleet.isKnown) showTotals();
});

async function begin() {
  try {
    if ((await client.session()) > 0) enter();
    else leave();
  } catch (error) {
    leave();
    $("door-said").textContent = words.why(error);
  }
}
begin();
