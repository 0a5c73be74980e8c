// Starts Swagger UI. This is a separate file because the Content-Security-Policy allows no inline scripts.
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  // Swagger UI is dark where the root has this class.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", paint);
  paint();
  // An address can name an operation that is hidden at first.
  if (/\/(head|options)_[^/]*$/.test(window.location.hash)) document.getElementById("all-methods").checked = true;
  const place = document.getElementById("docs");
  SwaggerUIBundle({
    domNode: place,
    url: new URL(place.dataset.document, document.baseURI).href,
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: true,
    // Otherwise Swagger UI would send the document to a service of its makers.
    validatorUrl: null,
  });
});
