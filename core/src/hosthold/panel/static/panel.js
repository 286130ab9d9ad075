// What pages gain from JavaScript. Without it every link and form still works.
"use strict";

// A link with data-dialog opens the confirmation on the same page instead of on one of its own.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      dialog.showModal();
      (dialog.querySelector("input:not([type=hidden])") || dialog.querySelector("button")).focus();
    }
    return;
  }
  const closer = event.target.closest("[data-close]");
  if (closer) {
    event.preventDefault();
    closer.closest("dialog").close();
    return;
  }
  if (event.target.matches("dialog")) event.target.close(); // the backdrop
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// Escape closes a menu and gives the focus back to what opened it.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// A form with data-once is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-once]")) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
});

// After a refused form the reader starts at the explanation.
document.querySelector("[data-focus]")?.focus();
