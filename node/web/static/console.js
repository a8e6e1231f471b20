/** What every page of the console does: live parts, copy buttons, questions before removals. */

import { watch } from "./live.js";

/** Whether an element can become another one by its attributes and children. */
function isSame(one, other) {
  return one.nodeName === other.nodeName && one.id === other.id && one.dataset?.call === other.dataset?.call;
}

/**
 * Make the children of one element like those of another. Elements that stay are kept, so that a
 * click that has begun, the keyboard's place and a selection outlive an update.
 */
function become(element, wanted) {
  const before = [...element.childNodes], after = [...wanted.childNodes];
  after.forEach((next, place) => {
    const now = before[place];
    if (!now) element.append(next);
    else if (!isSame(now, next)) now.replaceWith(next);
    else if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.data !== next.data) now.data = next.data;
    } else {
      for (const { name } of [...now.attributes]) if (!next.hasAttribute(name)) now.removeAttribute(name);
      for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
      become(now, next);
    }
  });
  before.slice(after.length).forEach((old) => old.remove());
}

function replace(element, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  become(element, template.content);
}

const parts = [...document.querySelectorAll("[data-live]")];
if (parts.length) {
  watch(parts.map((part) => part.dataset.live), (name, html) => {
    for (const part of parts) if (part.dataset.live === name) replace(part, html);
  });
}

/** Pages over plain HTTP from another machine have no clipboard; the text is then selected. */
async function copy(button) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    const shown = button.parentElement.querySelector("code");
    if (shown) getSelection().selectAllChildren(shown);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});
