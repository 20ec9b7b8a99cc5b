// The optional script. Every page works without it: it only unhides conveniences
// and never builds HTML from text, so the trusted-types policy has nothing to do.
"use strict";
(() => {
  const all = (selector) => document.querySelectorAll(selector);
  const announcer = document.getElementById("announcer");
  const say = (text) => {
    if (!announcer) return;
    // An emptied region makes a repeated message audible again.
    announcer.textContent = "";
    setTimeout(() => { announcer.textContent = text; }, 60);
  };

  // data-copy="id": copies the text of that element.
  const selectText = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  for (const button of all("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) continue;
    const label = button.querySelector("[data-label]") || button;
    const idle = label.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = (source.dataset.value || source.innerText).trim();
      try {
        await navigator.clipboard.writeText(text);
        label.textContent = "Copied";
        say("Copied");
        setTimeout(() => { label.textContent = idle; }, 2000);
      } catch {
        // Without permission or on an insecure page: leave it selected for the person.
        selectText(source);
        say("Selected. Press Control C to copy.");
      }
    });
  }

  // data-show="id": shows and hides what a password field holds.
  for (const button of all("[data-show]")) {
    const field = document.getElementById(button.dataset.show);
    if (!field) continue;
    button.hidden = false;
    const set = (shown) => {
      field.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", String(shown));
    };
    button.addEventListener("click", () => set(field.type === "password"));
    // A shown password must not end up in the browser's store of text entries.
    if (field.form) field.form.addEventListener("submit", () => set(false));
  }

  // data-time: local time instead of UTC, with the exact value on hover.
  // The region is the browser's, the language stays that of the page.
  const language = document.documentElement.lang || "en";
  const format = new Intl.DateTimeFormat([...navigator.languages.filter((tag) => tag.startsWith(language)), language], {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
  });
  for (const time of all("time[data-time]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.title = time.textContent.trim();
    time.textContent = format.format(moment);
  }

  // data-print
  for (const button of all("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }

  // data-theme-switch: only on the portal; the server reads the cookie and renders data-theme.
  const root = document.documentElement;
  for (const button of all("[data-theme-switch]")) {
    const label = button.querySelector("[data-label]") || button;
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => root.dataset.theme === "dark" || (root.dataset.theme !== "light" && system.matches);
    const name = () => { label.textContent = dark() ? "Light theme" : "Dark theme"; };
    button.hidden = false;
    name();
    system.addEventListener("change", name);
    button.addEventListener("click", () => {
      const next = dark() ? "light" : "dark";
      root.dataset.theme = next;
      const secure = location.protocol === "https:" ? "; Secure" : "";
      document.cookie = `cardea-theme=${next}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
      name();
    });
  }
})();
