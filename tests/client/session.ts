// One session of a user, by a client whose paths, bodies and answers are checked by the compiler.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./build/schema.js";

const client = createClient<paths>({ baseUrl: process.argv[2], credentials: "include" });
const bearer = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } });
const ada = { username: "ada", email: "ada@example.com", password: "correct horse" };

const registered = await client.POST("/api/auth/register", { body: { ...ada, first_name: "Ada" } });
assert.equal(registered.data?.user.firstName, "Ada");

const login = await client.POST("/api/auth/login", { body: { email: ada.email, password: ada.password } });
assert(login.data, login.error?.error);

const me = await client.GET("/api/auth/me", bearer(login.data.token));
assert.deepEqual(me.data, login.data.user);

const pair = await client.POST("/api/auth/refresh", { body: { refresh_token: login.data.refresh_token } });
assert(pair.data, pair.error?.error);

for (let guess = 1; guess <= 11; guess++) {
  const body = { username: ada.username, password: "a wrong password" };
  const { error } = await client.POST("/api/auth/login", { body });
  assert.equal(error?.code, guess <= 10 ? "invalid_credentials" : "too_many_attempts");
  if (error?.code === "too_many_attempts") assert(error.retry_after >= 1 && error.retry_after <= 60);
}

const logout = await client.POST("/api/auth/logout", bearer(pair.data.token));
assert.equal(logout.response.status, 204);

const after = await client.GET("/api/auth/me", bearer(pair.data.token));
assert.equal(after.error?.code, "token_invalid");

const again = await client.POST("/api/auth/register", { body: ada });
if (again.error?.code === "validation_failed") throw new Error(Object.values(again.error.fields).join());
const code: components["schemas"]["ErrorCode"] | undefined = again.error?.code;
assert.equal(code, "username_taken");

// @ts-expect-error: a field that the contract does not know does not compile
void login.data.user.password;
console.log("registered, logged in, saw me, refreshed, was limited and logged out");
