"""A figure as a page in which boxes unfold: one file, nothing loaded, its script the same in every page."""

from __future__ import annotations

from collections.abc import Mapping

STYLE = """
:root{color-scheme:light dark}
body{margin:0;font:14px/1.4 "Helvetica Neue",Helvetica,Arial,sans-serif;background:Canvas;color:CanvasText}
nav{position:sticky;top:0;display:flex;gap:1em;align-items:center;padding:.5em 1em;background:Canvas;z-index:1;
border-bottom:1px solid color-mix(in srgb,CanvasText 20%,transparent)}
nav button{font:inherit}nav .hint{opacity:.65}
main{overflow:auto;padding:1em}main svg{display:block;margin:0 auto}
[role=button]{cursor:pointer}[role=button]:focus-visible{outline:2px solid Highlight}
.pointing .box:not(.near){opacity:.35}.pointing g[data-source]:not(.near){opacity:.12}
"""

SCRIPT = """
"use strict";
const main = document.querySelector("main"), up = document.querySelector("#up"), hint = document.querySelector(".hint");
const whole = main.innerHTML;
const inside = key => document.getElementById("inside-" + key);

function show() {
  const key = location.hash.slice(1), template = key && inside(key);
  main.innerHTML = template ? template.innerHTML : whole;
  up.hidden = !template;
  hint.hidden = !template && !document.querySelector("template");
  for (const box of main.querySelectorAll(".box")) {
    if (!inside(box.dataset.key) || (template && !box.classList.contains("aside"))) continue;
    box.setAttribute("role", "button");
    box.setAttribute("tabindex", "0");
  }
  scrollTo(0, 0);
}

function open(event) {
  const box = event.target.closest("[role=button]");
  if (box) location.hash = box.dataset.key;
}

function point(event) {
  const box = event.target.closest ? event.target.closest(".box") : null;
  for (const old of main.querySelectorAll(".near")) old.classList.remove("near");
  main.classList.toggle("pointing", Boolean(box));
  if (!box) return;
  const near = new Set([box.dataset.key]);
  for (const edge of main.querySelectorAll("g[data-source]")) {
    const { source, target } = edge.dataset;
    if (source !== box.dataset.key && target !== box.dataset.key) continue;
    edge.classList.add("near");
    near.add(source).add(target);
  }
  for (const other of main.querySelectorAll(".box")) other.classList.toggle("near", near.has(other.dataset.key));
}

main.addEventListener("click", open);
main.addEventListener("mouseover", point);
main.addEventListener("mouseleave", point);
main.addEventListener("focusin", point);
up.addEventListener("click", () => { location.hash = ""; });
addEventListener("keydown", event => {
  if (event.key === "Enter") open(event);
  if (event.key === "Escape") location.hash = "";
});
addEventListener("hashchange", show);
show();
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(whole: str, inside: Mapping[int, str]) -> str:
    """The page of a figure.

    whole: its SVG; inside: for the keys of boxes that unfold, the SVG of what they hold
    """
    templates = "".join(f'<template id="inside-{key}">{text}</template>\n' for key, text in inside.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>computation graph</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<style>{STYLE}</style></head><body>\n'
        '<nav><button id="up" hidden>← whole graph</button>'
        '<span class="hint">click a line to see inside; Escape returns</span></nav>\n'
        f"<main>{whole}</main>\n{templates}<script>{SCRIPT}</script></body></html>\n"
    )
