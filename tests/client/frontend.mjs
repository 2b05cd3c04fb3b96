// What a page does with the module of docs/clients.md; prints what it saw. tests/project/test_clients_doc.py runs it.
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
  } catch ({ message, status, code, fields, retry_after }) {
    return { message, status, code, fields, retry_after };
  }
  throw new Error("not refused");
};
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
for (let guess = 1; guess <= 11; guess++) told.limited = await refused(session.login("ada", "a wrong password"));
told.credentials = [...new Set(sent.map(([, , , credentials]) => credentials))];
told.authorizations = [...new Set(sent.map(([, , authorization]) => authorization?.split(" ")[0] ?? null))];
told.undefined = sent.filter(([, , authorization]) => /undefined|null/.test(authorization ?? "")).length;
console.log(JSON.stringify(told));
