/** The classroom page's composition root: reads the address, builds the client and the views, wires them. */
import { Composer } from "./composer.js";
import { Controls } from "./controls.js";
import { addressOf, isComplete, newUser, openDoor, visitorOf } from "./door.js";
import { HallClient } from "./hall-client.js";
import { languageOf, Words } from "./i18n/words.js";
import { LineView } from "./line-view.js";
import { Outgoing } from "./outgoing.js";
import { Stage } from "./stage.js";
import { Transcript } from "./transcript.js";
import { TranscriptView } from "./transcript-view.js";
import { io } from "./vendor/socket.io.esm.min.js";

const TAIL = 100;
const LANGUAGE_KEY = "lecturehall.language";
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
  const words = new Words(languageOf([remembered(LANGUAGE_KEY), ...navigator.languages]));
  const translate = () => words.translate(document.documentElement);
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

function openHall(visitor, words) {
  const { room, user, name, role } = visitor;
  document.title = `${room} · lecturehall`;
  $("hall").hidden = false;

  const client = new HallClient({ io, room, identity: { user, name, role }, tail: TAIL });
  const transcript = new Transcript();
  const outgoing = new Outgoing(sessionStorage, `${room} ${user}`);
  const views = new LineView(words, (seq) => transcript.lineOf(seq));
  const view = new TranscriptView({
    transcript,
    outgoing,
    views,
    words,
    acts: {
      reply: (entry) => composer.replyTo(entry),
      delete: (entry) => client.delete(entry.seq),
      retry: (request) => client.retry(request),
      discard: (request) => {
        outgoing.discard(request);
        view.draw();
        composer.focus();
      },
      history: (range) => client.history(range),
    },
  });
  const composer = new Composer({ words, role, send: (text, options) => client.send(text, options) });
  const stage = new Stage({
    words,
    room,
    hurry: () => client.hurry(),
    restart: () => client.start(),
    reveal: (seq) => view.reveal(seq),
  });
  const controls = role === "student" ? null : new Controls({ words, client });

  client.on("state", (change) => {
    stage.connection = change;
    composer.stoppedBy = change.state === "stopped" ? change.error : null;
  });
  client.on("joined", ({ you, limits, entries, reset }) => {
    view.you = you;
    composer.limits = limits;
    if (reset) {
      transcript.reset(entries);
      view.reset();
    } else {
      transcript.append({ entries });
    }
    arrived(entries, you);
  });
  client.on("entries", (batch) => {
    transcript.append(batch);
    arrived(batch.entries, client.you);
  });
  client.on("standing", (standing) => {
    stage.standing = standing;
    composer.standing = standing;
    if (controls) controls.standing = standing;
  });
  client.on("send", (request) => {
    if (request.event !== "send") return;
    outgoing.note(request);
    if (request.state === "sending") view.follow();
    if (request.state === "sent") {
      composer.accepted();
      if (request.ack.seq <= client.position.seq) outgoing.discard(request); // its entry came long ago
    }
    view.draw();
  });

  function arrived(entries, you) {
    outgoing.settle(entries, you.id);
    stage.questions = transcript.questions(Stage.mostQuestions);
    view.draw();
  }

  globalThis.addEventListener("online", () => client.hurry());
  globalThis.addEventListener("pagehide", () => client.close());
  globalThis.addEventListener("pageshow", ({ persisted }) => persisted && client.start());
  for (const { text, ...options } of outgoing.left()) client.send(text, options);
  client.start();
  if (matchMedia("(pointer: fine)").matches) composer.focus(); // elsewhere it would bring up a keyboard on glass
}

const words = chooseWords();
const enter = (visitor) => {
  const whole = { ...visitor, user: visitor.user || newUser(visitor.name) };
  history.replaceState(null, "", addressOf(whole, location.href));
  openHall(whole, words);
};
const visitor = visitorOf(new URL(location.href));
if (isComplete(visitor)) enter(visitor);
else openDoor(visitor, enter);
