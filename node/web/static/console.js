/** What every page of the console does: live parts, copy buttons, questions before removals. */

import { watch } from "./live.js";

/** Replace a live part, and leave the keyboard where it was. */
function replace(element, html) {
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  element.innerHTML = html;
  if (focused) document.getElementById(focused)?.focus();
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
