// Says quietly that something changed, in place of reloading under the hands of whoever works at the inbox.
// Without script the page renews itself once a minute.
"use strict";

(() => {
  const AGAIN_MS = 60_000;
  const LOST_MS = 10_000;
  const banner = document.getElementById("live");
  const title = document.title;
  const changed = new Set();
  let lost = 0;

  const address = (renews) => {
    const here = new URL(location.href);
    here.hash = "";
    here.searchParams.delete("renews");
    if (renews) here.searchParams.set("renews", "1");
    return here.pathname + here.search;
  };

  // Nobody did anything: the address says so, and keeps no session alive.
  const leave = () => location.replace(address(true));

  const say = (words, href) => {
    const said = document.createElement(href ? "a" : "span");
    said.textContent = words;
    if (href) said.href = href;
    banner.replaceChildren(said);
  };

  const show = () => {
    if (changed.size === 0) return banner.replaceChildren();
    say(banner.dataset.words.replace("{count}", changed.size), address(false));
    document.title = `(${changed.size}) ${title}`;
  };

  const source = new EventSource(`/api/v1/events?after=${banner.dataset.after}`);

  source.addEventListener("alert", (event) => {
    // Where nobody waits there is nothing under anybody's hands: new items appear by themselves.
    if (!document.querySelector("article.card")) return leave();
    const { alert_id: alert, state } = JSON.parse(event.data);
    if (state === "folded") return; // the item that tells of it is said to have changed, too
    changed.add(alert);
    show();
  });
  source.addEventListener("end", () => {
    source.close();
    leave();
  });
  source.addEventListener("open", () => {
    clearTimeout(lost);
    lost = 0;
    show();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(leave, AGAIN_MS);
    if (!lost) lost = setTimeout(() => say(banner.dataset.lost), LOST_MS);
  });
})();
