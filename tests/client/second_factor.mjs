// A browser that is just enough for the pages for a second factor of docs/clients.md. tests/support/node_pages.py
// runs it: node second_factor.mjs HTML SCRIPT TOKENS. Each line on stdin is what the user does, and each line on
// stdout is what the user sees then.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [html_file, script, tokens] = process.argv.slice(2);
const html = readFileSync(html_file, "utf8").split("<script")[0];
const element = (hidden = false) => {
  const listeners = {};
  const addEventListener = (event, listener) => (listeners[event] = listener);
  return { hidden, textContent: "", value: "", disabled: false, listeners, addEventListener };
};
const forms = {};
for (const [, id, hidden, content] of html.matchAll(/<form id="(\w+)"( hidden)?>(.*?)<\/form>/gs)) {
  const names = [...content.matchAll(/<input [^>]*name="(\w+)"/g)].map(([, name]) => name);
  const elements = Object.fromEntries(names.map((name) => [name, element()]));
  const button = element();
  const reset = () => names.forEach((name) => (elements[name].value = ""));
  const querySelector = (selector) => (selector === "button" ? button : null);
  forms[id] = { ...element(Boolean(hidden)), elements, reset, querySelector };
}
const found = {};
const marks = { p: "<p role", "[role=status]": '<p role="status"' };
function querySelector(selector) {
  const mark = marks[selector] ?? `<${selector}`;
  if (!html.includes(mark)) return null;
  return (found[selector] ??= element(html.includes(`${mark} hidden`)));
}
const section = html.match(/<section.*?<\/section>/s)?.[0] ?? "";
const buttons = [...section.matchAll(/<button>(\w+)</g)].map(([, label]) => ({ ...element(), label }));
const did = [];
const stored = new Map([["tokens", tokens]]);
const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true });
define("document", { forms, querySelector, querySelectorAll: () => buttons });
define("window", { print: () => did.push("printed") });
define("navigator", { clipboard: { writeText: (text) => did.push(text) } });
define("localStorage", { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) });

await import(script);
const parts = { ...forms, ...(section && { section: querySelector("section") }) };
const shown = () => Object.keys(parts).filter((name) => !parts[name].hidden);
const said = () => (found["[role=status]"] ?? found.p)?.textContent ?? "";

for await (const line of createInterface({ input: process.stdin })) {
  const { form, values, click } = JSON.parse(line);
  if (click) buttons.find(({ label }) => label === click).listeners.click();
  else if (forms[form].hidden || forms[form].querySelector("button").disabled) throw new Error(`${form} is not to be sent`);
  else {
    for (const [name, value] of Object.entries(values)) forms[form].elements[name].value = value;
    forms[form].listeners.submit({ preventDefault() {} });
    while (!shown().length && !said()) await sleep(10);
    await sleep(10); // what follows in the same task
  }
  const paused = Object.keys(forms).filter((name) => forms[name].querySelector("button").disabled);
  const inputs = Object.values(forms).flatMap(({ elements }) => Object.values(elements).map(({ value }) => value));
  const texts = Object.fromEntries(Object.entries(found).map(([name, { textContent }]) => [name, textContent]));
  const [image, link] = [found.img?.src, found.a?.href];
  console.log(JSON.stringify({ shown: shown(), said: said(), paused, inputs, texts, image, link, did, tokens: stored.get("tokens") }));
}
process.exit(0); // a button may still be paused
