// A browser that is just enough for the pages of docs/clients.md; prints what their user sees.
// Usage: node pages.mjs SCRIPT HASH [PASSWORD]. tests/project/test_pages.py runs it.
const [script, hash, password] = process.argv.slice(2);
let submit;
const form = {
  hidden: false,
  elements: { password: { value: password } },
  addEventListener: (_, listener) => (submit = listener),
};
const status = { textContent: "" };
const addresses = [];
globalThis.document = { querySelector: (selector) => ({ form, p: status })[selector] };
globalThis.location = { hash, pathname: "/page/" };
globalThis.history = { replaceState: (_state, _title, address) => addresses.push(address) };

await import(script);
const before = status.textContent;
await submit({ preventDefault() {} });
console.log(JSON.stringify({ before, after: status.textContent, hidden: form.hidden, addresses }));
