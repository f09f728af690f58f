// A page stays current while somebody looks at it and is not busy with it.
"use strict";
const EVERY = 15000;
let made = Date.now();
function busy() {
  const at = document.activeElement;
  const typing = at !== null && at !== document.body;
  return typing || document.querySelector("details[open]") !== null ||
    String(getSelection()) !== "";
}
function look() {
  if (document.visibilityState === "visible" && Date.now() - made >= EVERY && !busy()) {
    made = Date.now();
    location.reload();
  }
}
setInterval(look, 1000);
document.addEventListener("visibilitychange", look);
