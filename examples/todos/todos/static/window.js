// What only the browser can do. Loaded before ReactPy, which renders in the server.
const root = document.documentElement;
let focused = null;

// The page cannot be used while there is no server: it says so, and keeps what was typed. ReactPy would keep clicks, too,
// and play them to the session that follows, where they hit whatever is in the same place.
const setOffline = (isOffline) => {
  const app = document.getElementById("app");
  if (!app || isOffline === root.hasAttribute("data-offline")) return;
  if (isOffline) focused = document.activeElement;
  root.toggleAttribute("data-offline", isOffline);
  app.inert = isOffline;
  if (!isOffline && focused?.isConnected) focused.focus();
};

window.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", () => setOffline(false));
    this.addEventListener("close", () => setOffline(true));
  }
};

window.addEventListener("DOMContentLoaded", () => {
  const banner = document.createElement("div");
  banner.id = "offline";
  banner.setAttribute("role", "alert");
  banner.textContent = "The server is away. What you see may be outdated. Reconnecting\u2026";
  document.body.prepend(banner);

  // The server has its copy by now.
  document.addEventListener("submit", ({ target }) => target.matches(".new") && target.reset());

  // What had the focus is gone, and what took its place wants it.
  const find = (node) => (node.matches?.("[data-focus]") ? node : node.querySelector?.("[data-focus]"));
  new MutationObserver((records) => {
    for (const { addedNodes } of records)
      for (const node of addedNodes) {
        const wanting = find(node);
        if (!wanting || document.activeElement !== document.body) continue;
        wanting.focus();
        wanting.select?.();
      }
  }).observe(document.body, { childList: true, subtree: true });
});
