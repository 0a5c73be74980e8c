// Starts Swagger UI. This is a separate file because the Content-Security-Policy allows no inline scripts.
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("docs");
  SwaggerUIBundle({
    domNode: place,
    url: new URL(place.dataset.document, document.baseURI).href,
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    tryItOutEnabled: true,
    // Otherwise Swagger UI would send the document to a service of its makers.
    validatorUrl: null,
  });
});
