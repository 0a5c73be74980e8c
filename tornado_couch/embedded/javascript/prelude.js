// What CouchDB offers to the functions of design documents, and the calls that run them.
// Evaluates to a function (design document as text) => (operation, ...texts) => text; nothing else leaks.
(function () {
  "use strict";

  const evaluate = eval; // called by another name, it evaluates in the global scope and not strictly
  const {parse, stringify} = JSON;
  const join = (parts) => parts.join("");
  let rows = [];
  let answer = {};

  // ---- errors: CouchDB's query servers answer ["error", name, reason]

  const failure = (name, reason) => ["error", name, String(reason)];
  const exhausted = (e) => e instanceof Error &&
    (e.name === "InternalError" || (e.name === "RangeError" && /call stack/.test(e.message)));
  const described = (e) => (e instanceof Error ? String(e) : (typeof e === "string" ? e : stringify(e)));

  const isQueryServerError = (e) => Array.isArray(e) && (e[0] === "error" || e[0] === "fatal");

  function reported(e) {
    if (isQueryServerError(e)) return [String(e[1]), described(e[2])];
    if (e && e.error && e.reason) return [String(e.error), described(e.reason)];
    if (e instanceof Error) return [e.name, e.message];
    return ["unnamed_error", described(e)];
  }

  // ---- what every function sees

  const asValue = (e) => (e instanceof Error ? {error: e.name, message: e.message} : e);

  // CouchDB's engine is built without these: what works here must work there.
  for (const name of ["ArrayBuffer", "AsyncDisposableStack", "Atomics", "BigInt64Array", "BigUint64Array",
    "DOMException", "DataView", "DisposableStack", "FinalizationRegistry", "Float16Array", "Float32Array",
    "Float64Array", "Int16Array", "Int32Array", "Int8Array", "Iterator", "Promise", "Proxy", "SharedArrayBuffer",
    "SuppressedError", "Uint16Array", "Uint32Array", "Uint8Array", "Uint8ClampedArray", "WeakRef", "atob", "btoa",
    "performance", "queueMicrotask"]) delete globalThis[name];

  Object.assign(globalThis, {
    emit: (key, value) => { rows.push(key, asValue(value)); },
    sum: (values) => { let total = 0; for (const place in values) total += values[place]; return total; },
    isArray: (value) => Array.isArray(value),
    toJSON: (...values) => stringify(...values),
    log: () => undefined,
    start: (response) => { answer.start = response || {}; },
    send: (chunk) => { answer.chunks.push(String(chunk)); },
    getRow: () => (answer.rows.length > 0 ? parse(answer.rows.shift()) : null),
    provides: (type, act) => { answer.provided.push([type, act]); },
    registerType: (type, ...mimes) => { MIMES.set(type, mimes); },
  });

  const MIMES = new Map(Object.entries({
    all: ["*/*"], text: ["text/plain; charset=utf-8", "txt"], html: ["text/html; charset=utf-8"],
    xhtml: ["application/xhtml+xml", "xhtml"], xml: ["application/xml", "text/xml", "application/x-xml"],
    js: ["text/javascript", "application/javascript", "application/x-javascript"], css: ["text/css"],
    ics: ["text/calendar"], csv: ["text/csv"], rss: ["application/rss+xml"], atom: ["application/atom+xml"],
    yaml: ["application/x-yaml", "text/yaml"], multipart_form: ["multipart/form-data"],
    url_encoded_form: ["application/x-www-form-urlencoded"], json: ["application/json", "text/x-json"],
  }));

  // A map function gets its document frozen, as in CouchDB: a change fails there too.
  function frozen(value) {
    const waiting = [value];
    while (waiting.length > 0) {
      const item = waiting.pop();
      if (item === null || typeof item !== "object") continue;
      Object.freeze(item);
      for (const name in item) waiting.push(item[name]);
    }
    return value;
  }

  // ---- compiling

  // CouchDB takes an anonymous function as a statement, also after others: this makes an expression of it.
  function* readings(source) {
    yield source;
    for (const found of source.matchAll(/(^|[;}\n]|\*\/)(\s*)(?=function\s*\*?\s*\()/g)) {
      const place = found.index + found[0].length;
      yield source.slice(0, place) + "void 0, " + source.slice(place);
    }
  }

  function compiled(source) {
    let problem = null;
    for (const text of readings(String(source))) {
      try {
        const act = evaluate(text);
        if (typeof act === "function") return act;
        problem = problem || "Expression does not eval to a function.";
      } catch (e) {
        if (exhausted(e)) throw e;
        problem = String(e);
        if (!(e instanceof SyntaxError)) break;
      }
    }
    throw failure("compilation_error", `${problem} (${source})`);
  }

  // `require` of CommonJS modules inside the design document: absolute from its root, or relative to the module.
  function requirer(root, cache, place) {
    return function require(path) {
      const names = path.split("/");
      const relative = names[0] === "." || names[0] === "..";
      if (relative && place.length === 0) throw failure("invalid_require_path", `Object has no parent ${path}`);
      const target = relative ? place.slice(0, -1) : [];
      for (const name of names) {
        if (name === "..") target.pop();
        else if (name !== ".") target.push(name);
      }
      return loaded(root, cache, target);
    };
  }

  function loaded(root, cache, target) {
    const id = target.join("/");
    if (cache.has(id)) return cache.get(id).exports;
    let source = root;
    for (const name of target) {
      if (source === null || typeof source !== "object" || !Object.hasOwn(source, name)) {
        throw failure("invalid_require_path", `Object has no property "${name}". ${stringify(source)}`);
      }
      source = source[name];
    }
    if (typeof source !== "string") {
      throw failure("invalid_require_path", `Must require a JavaScript string, not: ${typeof source}`);
    }
    const module = {id, exports: {}};
    cache.set(id, module); // before it runs, so that modules may require each other
    try {
      evaluate(`(function (module, exports, require) { ${source}\n })`)
        .call(globalThis, module, module.exports, requirer(root, cache, target));
    } catch (e) {
      if (exhausted(e)) throw e;
      cache.delete(id);
      throw failure("compilation_error", `Module require('${id}') raised error ${described(e)}`);
    }
    return module.exports;
  }

  // ---- running

  // Errors inside a map or reduce are CouchDB's to swallow, except those that ask for more, and a spent limit.
  function survive(e) {
    if (e === "fatal_error") throw failure("map_runtime_error", "function raised 'fatal_error'");
    if ((Array.isArray(e) && e[0] === "fatal") || exhausted(e)) throw e;
  }

  function rendered(e, args) {
    if (exhausted(e) || (e && e.error && e.reason) || isQueryServerError(e)) throw e;
    throw failure("render_error", `function raised error: ${described(e)} \nstacktrace: ${(e && e.stack) || ""}`);
  }

  const wrapped = (response) => (typeof response === "string" ? {body: response} : response);

  const accepts = (range, mime) => {
    const [type] = mime.split(";");
    return range === "*/*" || mime === "*/*" || range === type.trim() ||
      (range.endsWith("/*") && type.startsWith(range.slice(0, -1)));
  };

  function negotiated(request) {
    const types = answer.provided.map(([type]) => type);
    const query = request.query || {};
    if (query.format) return [query.format, (MIMES.get(query.format) || [])[0]];
    const accept = (request.headers || {}).Accept;
    if (!accept) return [types[0], (MIMES.get(types[0]) || [])[0]];
    const ranges = accept.split(",").map((part) => {
      const [range, ...parameters] = part.trim().split(/\s*;\s*/);
      const quality = parameters.find((parameter) => /^q=/.test(parameter));
      return [range, quality ? Number(quality.slice(2)) : 1];
    }).filter(([, quality]) => quality > 0).sort((a, b) => b[1] - a[1]);
    for (const [range] of ranges) {
      for (const type of types) {
        const mime = (MIMES.get(type) || []).find((candidate) => accepts(range, candidate));
        if (mime) return [type, mime];
      }
    }
    return [null, accept];
  }

  // provides("html", function () {...}): the function of the type that the request likes best.
  function provide(design, request) {
    const [type, mime] = negotiated(request);
    const chosen = answer.provided.find(([offered]) => offered === type);
    if (!chosen) {
      const offered = answer.provided.map(([name]) => (MIMES.get(name) || [name]).join(", ")).join(", ");
      throw failure("not_acceptable", `Content-Type ${mime} not supported, try one of: ${offered}`);
    }
    answer.type = mime;
    return chosen[1].call(design);
  }

  function withType(response) {
    if (!answer.type) return response;
    const headers = response.headers || {};
    return {...response, headers: {"Content-Type": answer.type, ...headers}};
  }

  function show(act, design, doc, request) {
    let response = wrapped(act.call(design, doc, request) || {});
    if (answer.provided.length > 0) {
      const provided = wrapped(provide(design, request) || {});
      response = withType({...response, ...provided, body: (response.body || "") + (provided.body || "")});
    }
    if (answer.chunks.length > 0) {
      const {headers} = answer.start || {};
      response = {...response, headers: {...headers, ...response.headers},
                  body: answer.chunks.join("") + (response.body || "")};
    }
    if (typeof response !== "object" || Array.isArray(response)) {
      throw failure("render_error", "undefined response from show function");
    }
    return response;
  }

  function update(act, design, doc, request) {
    if (request.method === "GET") throw failure("method_not_allowed", "Update functions do not allow GET");
    const [written, response] = act.call(design, doc, request) || [];
    const whole = wrapped(response);
    if (whole === null || typeof whole !== "object") {
      throw failure("render_error", "undefined response from update function");
    }
    return [written === undefined ? null : written, whole];
  }

  function list(act, design, head, request) {
    let tail = act.call(design, head, request);
    if (answer.provided.length > 0) tail = provide(design, request);
    if (tail !== undefined) answer.chunks.push(String(tail));
    return withType({...answer.start, body: answer.chunks.join("")});
  }

  return function (text) {
    const design = parse(text);
    const views = design.views || {};
    const functions = new Map();
    const cache = {design: new Map(), views: new Map()};
    const roots = {design, views: {views: {lib: views.lib}}};

    function found(path, scope) {
      globalThis.require = requirer(roots[scope], cache[scope], []);
      const id = stringify(path);
      if (!functions.has(id)) {
        let source = design;
        for (const name of path) {
          if (source === null || typeof source !== "object" || !Object.hasOwn(source, name)) {
            throw failure("not_found", `missing json key: ${name}`);
          }
          source = source[name];
        }
        functions.set(id, compiled(source));
      }
      return functions.get(id);
    }

    function mapped(names, doc) {
      const act = names.map((name) => found(["views", name, "map"], "views"));
      const document = frozen(parse(doc));
      return stringify(act.map((map) => {
        rows = [];
        try { map(document); } catch (e) { survive(e); rows = []; }
        return rows.map((part) => stringify(part) || "null");
      }));
    }

    function reduced(name, keys, values) {
      const reduce = found(["views", name, "reduce"], "views");
      let result = null;
      try { result = reduce(parse(keys), parse(values), keys === "null"); } catch (e) { survive(e); }
      const output = stringify(result) || "null";
      const input = keys.length + values.length;
      // CouchDB's reduce_limit: a reduction that does not shrink is refused.
      if (output.length > 5000 && output.length * 2 > input) {
        throw failure("reduce_overflow_error", "Reduce output must shrink more rapidly: " +
                      `input size: ${input} output size: ${output.length}`);
      }
      return output;
    }

    function validated(...args) {
      const validate = found(["validate_doc_update"], "design");
      try {
        validate.apply(design, args.map((part) => parse(part)));
        return "1";
      } catch (e) {
        if (e instanceof Error || isQueryServerError(e)) throw e;
        return stringify(e);
      }
    }

    function filtered(path, docs, request) {
      const filter = found(path, "design");
      if (path[0] !== "views") return docs.map((doc) => Boolean(filter.call(design, parse(doc), request)));
      return docs.map((doc) => { rows = []; filter(parse(doc)); return rows.length > 0; });
    }

    function ran(kind, name, first, request) {
      const act = found([kind, name], "design");
      answer = {start: null, chunks: [], rows: kind === "lists" ? request.rows : [], provided: [], type: null};
      delete request.rows;
      try { return {shows: show, updates: update, lists: list}[kind](act, design, first, request); }
      catch (e) { return rendered(e); }
    }

    const operations = {
      compile: (path) => { found(parse(path), parse(path)[0] === "views" ? "views" : "design"); return "true"; },
      map: (names, doc) => mapped(parse(names), doc),
      reduce: reduced,
      validate: validated,
      filter: (path, docs, request) => stringify(filtered(parse(path), parse(docs), parse(request))),
      run: (kind, name, first, request) => stringify(ran(kind, name, parse(first), parse(request))),
    };

    // Joined, not added: the binding cannot take the engine's ropes of added strings.
    return (operation, ...args) => {
      try { return join(["=", operations[operation](...args)]); }
      catch (e) {
        if (exhausted(e)) throw e;
        return join(["!", stringify(reported(e))]);
      }
    };
  };
})()
