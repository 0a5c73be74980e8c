// Starts Swagger UI. It is a file, and the page has no script in it, so that the Content-Security-Policy can say so.
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
    // Otherwise it would send the document to a service of its makers.
    validatorUrl: null,
  });
});
