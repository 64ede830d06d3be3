/** Door: who comes in and to which room, from the page's address or asked for by a form. */

const ROOM = /^[A-Za-z0-9._:~-]{1,128}$/;
const ROLES = ["student", "assistant", "lecturer"];
const $ = (id) => document.getElementById(id);

/** {room, user, name, role} as far as the address says so; a user without a name gets one, if all else is there. */
export function visitorOf(address) {
  const asked = Object.fromEntries(["room", "user", "name", "role"].map((key) => [key, address.searchParams.get(key)?.trim() ?? ""]));
  return {
    ...asked,
    room: ROOM.test(asked.room) ? asked.room : "",
    role: ROLES.includes(asked.role) ? asked.role : "",
    name: asked.name || asked.user,
  };
}

export const isComplete = ({ room, name, role }) => Boolean(room && name && role);

/** A user id for a name: new each time, and kept in the address. */
export function newUser(name) {
  const plain = name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 24);
  const chance = Array.from(crypto.getRandomValues(new Uint8Array(3)), (byte) => byte.toString(16).padStart(2, "0"));
  return `${plain || "guest"}-${chance.join("")}`;
}

/** The address that says all of it, so that a reload is the same visitor. */
export function addressOf(visitor, address) {
  const next = new URL(address);
  for (const key of ["room", "user", "name", "role"]) next.searchParams.set(key, visitor[key]);
  return next;
}

/** Ask for what is missing; calls `enter(visitor)`. */
export function openDoor(known, enter) {
  $("door").hidden = false;
  $("door-name").value = known.name;
  $("door-room").value = known.room;
  const form = $("door-form");
  if (known.role) form.elements.role.value = known.role;
  const missing = [$("door-name"), $("door-room")].find((input) => input.value === "");
  (missing ?? $("door-name")).focus();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [name, room] = [$("door-name").value.trim(), $("door-room").value.trim()];
    if (name === "" || !ROOM.test(room)) return;
    $("door").hidden = true;
    enter({ name, room, role: form.elements.role.value, user: known.user || newUser(name) });
  });
}
