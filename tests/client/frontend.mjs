// What a page does with the module of docs/clients.md; prints what it saw. tests/project/test_clients_doc.py runs it.
import { createHmac } from "node:crypto";

const stored = new Map();
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
};
const sent = [];
const fetched = globalThis.fetch;
globalThis.fetch = (url, options) => {
  sent.push([options.method, new URL(url).pathname, options.headers.Authorization ?? null, options.credentials]);
  return fetched(url, options);
};
const session = await import("./session.mjs");
const refused = async (promise) => {
  try {
    await promise;
  } catch ({ message, status, code, fields, retry_after, ticket }) {
    return { message, status, code, fields, retry_after, ticket };
  }
  throw new Error("not refused");
};
function appCode(secret, steps) { // RFC 6238
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const counter = Buffer.alloc(8);
  counter.writeUInt32BE(Math.floor(Date.now() / 30000) + steps, 4);
  const digest = createHmac("sha1", Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))).update(counter).digest();
  const number = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(number % 1000000).padStart(6, "0");
}
const told = {};
told.anonymous = await refused(session.call("GET", "/me"));
told.bad = await refused(session.register({ username: "ada" }));
told.registered = await session.register({ username: "ada", email: "ada@example.com", password: "correct horse" });
told.me = await session.call("GET", "/me");
told.changed = await session.call("PATCH", "/me", { first_name: "Ada" });
stored.set("tokens", JSON.stringify({ ...JSON.parse(stored.get("tokens")), token: "an.expired.one" }));
told.refreshed = await Promise.all([session.call("GET", "/me"), session.call("GET", "/me")]);
await session.changePassword("correct horse", "battery staple");
told.sessions = (await session.call("GET", "/sessions")).sessions.length;
await session.logout();
told.out = await refused(session.call("GET", "/me"));
told.again = await session.login("ada", "battery staple");
const { secret } = await session.call("POST", "/2fa/setup", { password: "battery staple" });
const { recovery_codes } = await session.call("POST", "/2fa/enable", { code: appCode(secret, 0) });
told.codeless = await refused(session.changePassword("battery staple", "a third password"));
await session.changePassword("battery staple", "a third password", appCode(secret, 1));
await session.logout();
told.half = await refused(session.login("ada", "a third password"));
told.unopened = stored.get("tokens");
told.mistyped = await refused(session.finishLogin(told.half.ticket, "12345"));
told.finished = await session.finishLogin(told.half.ticket, recovery_codes[0]);
told.spent = await refused(session.finishLogin(told.half.ticket, recovery_codes[1]));
for (let guess = 1; guess <= 11; guess++) told.limited = await refused(session.login("ada", "a wrong password"));
told.credentials = [...new Set(sent.map(([, , , credentials]) => credentials))];
told.authorizations = [...new Set(sent.map(([, , authorization]) => authorization?.split(" ")[0] ?? null))];
told.undefined = sent.filter(([, , authorization]) => /undefined|null/.test(authorization ?? "")).length;
console.log(JSON.stringify(told));
