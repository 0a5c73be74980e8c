function (newDoc, oldDoc) {
  // Of each type of documents its name and, as JSON, what must hold of them, compiled from the JSON Schema of a model.
  // Nothing else in this function depends on the models: their members' names are values here, never code.
  var MODELS = "$MODELS";

  // Rules refer to definitions by number; `open` lets members pass that no rule knows.
  var definitions = [];
  var open = false;

  function has(object, name) {
    return Object.prototype.hasOwnProperty.call(object, name);
  }

  function isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
  }

  // Two JSON values are equal when these texts are.
  function text(value) {
    if (Array.isArray(value)) {
      return "[" + value.map(text).join() + "]";
    }
    if (!isObject(value)) {
      return JSON.stringify(value);
    }
    return "{" + Object.keys(value).sort().map(function (name) {
      return JSON.stringify(name) + ":" + text(value[name]);
    }).join() + "}";
  }

  function isUnique(values) {
    var seen = {};
    return values.every(function (value) {
      var key = "=" + text(value);
      var before = has(seen, key);
      seen[key] = true;
      return !before;
    });
  }

  // JSON Schema counts code points, JavaScript counts UTF-16 units.
  function length(value) {
    return value.length - (value.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g) || []).length;
  }

  function isWhole(value) {
    return typeof value === "number" && isFinite(value) && Math.floor(value) === value;
  }

  function isMultiple(value, of) {
    // As the library `jsonschema` does: 0.3 is a multiple of 0.1 or not by the quotient that floating point gives.
    return isWhole(of) || !isFinite(value / of) ? value % of === 0 : isWhole(value / of);
  }

  function isA(kind, value) {
    switch (kind) {
      case "null": return value === null;
      case "object": return isObject(value);
      case "array": return Array.isArray(value);
      case "integer": return isWhole(value);
      default: return typeof value === kind;
    }
  }

  var expressions = {};

  // A pattern may be two, the shorter one for texts in ASCII.
  function matches(pattern, value) {
    var source = typeof pattern === "string" ? pattern : pattern[/^[\x00-\x7F]*$/.test(value) ? 0 : 1];
    var key = "=" + source;
    expressions[key] = expressions[key] || new RegExp(source);
    return expressions[key].test(value);
  }

  function at(where, name) {
    return where + "/" + String(name).replace(/~/g, "~0").replace(/\//g, "~1").slice(0, 100);
  }

  function count(rules, value, where) {
    return rules.filter(function (rule) { return !fault(rule, value, where); }).length;
  }

  // Each gives the place of a fault, an empty text where there is none, or whether all is well.
  var ANY = {
    "type": function (kinds, value) { return kinds.some(function (kind) { return isA(kind, value); }); },
    "enum": function (values, value) {
      var wanted = text(value);
      return values.some(function (each) { return text(each) === wanted; });
    },
    "ref": function (number, value, where) { return fault(definitions[number], value, where); },
    "allOf": function (rules, value, where) {
      return first(rules, function (rule) { return fault(rule, value, where); });
    },
    "anyOf": function (rules, value, where) { return count(rules, value, where) > 0; },
    "oneOf": function (rules, value, where) { return count(rules, value, where) === 1; },
    "not": function (rule, value, where) { return fault(rule, value, where) !== ""; }
  };
  var STRINGS = {
    "minLength": function (limit, value) { return length(value) >= limit; },
    "maxLength": function (limit, value) { return length(value) <= limit; },
    "pattern": matches
  };
  var NUMBERS = {
    "minimum": function (limit, value) { return value >= limit; },
    "maximum": function (limit, value) { return value <= limit; },
    "exclusiveMinimum": function (limit, value) { return value > limit; },
    "exclusiveMaximum": function (limit, value) { return value < limit; },
    "multipleOf": function (of, value) { return isMultiple(value, of); }
  };
  var ARRAYS = {
    "minItems": function (limit, value) { return value.length >= limit; },
    "maxItems": function (limit, value) { return value.length <= limit; },
    "uniqueItems": function (wanted, value) { return !wanted || isUnique(value); },
    "elements": function (parts, value, where) {
      return first(value, function (each, place) {
        return fault(place < parts[0].length ? parts[0][place] : parts[1], each, at(where, place));
      });
    }
  };
  var OBJECTS = {
    "minProperties": function (limit, value) { return Object.keys(value).length >= limit; },
    "maxProperties": function (limit, value) { return Object.keys(value).length <= limit; },
    "required": function (names, value, where) {
      return first(names, function (name) { return has(value, name) ? "" : at(where, name) + ": required"; });
    },
    "propertyNames": function (rule, value, where) {
      return first(Object.keys(value), function (name) { return fault(rule, name, at(where, name)); });
    },
    "members": function (parts, value, where) {
      return first(Object.keys(value), function (name) {
        var rules = membersRules(parts, name);
        return first(rules, function (rule) { return fault(rule, value[name], at(where, name)); });
      });
    }
  };

  // The rules for one member: those by its name, those by patterns, else the one for all others.
  function membersRules(parts, name) {
    var named = parts[0].filter(function (each) { return each[0] === name; });
    var matching = parts[1].filter(function (each) { return matches(each[0], name); });
    var found = named.concat(matching).map(function (each) { return each[1]; });
    return found.length || open ? found : [parts[2]];
  }

  function first(values, look) {
    for (var place = 0; place < values.length; place += 1) {
      var found = look(values[place], place);
      if (found) {
        return found;
      }
    }
    return "";
  }

  function checksFor(value) {
    if (typeof value === "string") {
      return STRINGS;
    }
    if (typeof value === "number") {
      return NUMBERS;
    }
    return Array.isArray(value) ? ARRAYS : isObject(value) ? OBJECTS : {};
  }

  // What is wrong with a value, "" for nothing. A rule is true, false, or pairs of a keyword and its argument.
  function fault(rule, value, where) {
    if (typeof rule === "boolean") {
      return rule ? "" : where + ": not allowed";
    }
    var checks = checksFor(value);
    return first(rule, function (pair) {
      var check = has(ANY, pair[0]) ? ANY[pair[0]] : has(checks, pair[0]) ? checks[pair[0]] : null;
      var found = check === null || check(pair[1], value, where);
      return found === false ? (where || "/") + ": " + pair[0] : found === true ? "" : found;
    });
  }

  function refuse(name, what) {
    throw ({"forbidden": name + " " + what});
  }

  // The type and version that a document says it is of, as Python's `DocumentType.parse` finds them; null for others.
  function typed(document) {
    var parts = typeof document.type === "string" && /^([!-~]+)_v([0-9]+)\.([0-9]+)$/.exec(document.type);
    var model = parts && MODELS.filter(function (each) { return each[0] === parts[1]; })[0];
    return model ? {name: model[0], text: model[1], major: parseInt(parts[2], 10), minor: parseInt(parts[3], 10)} : null;
  }

  // The rule for a version: its own, else that of the latest earlier minor one.
  function versionFor(model, found) {
    return model.versions.filter(function (each) {
      return each.major === found.major && each.minor <= found.minor;
    }).sort(function (one, other) { return other.minor - one.minor; })[0];
  }

  // The members that the rules are asked about: not the type, which chose them, and none that nothing declares and
  // that the document had before: whoever writes such a document back did not put it there.
  function judged(version, before) {
    var kept = {};
    Object.keys(newDoc).forEach(function (name) {
      var known = version.members.indexOf(name) >= 0 || !before || !has(before, name);
      if (known && name !== "type") {
        Object.defineProperty(kept, name, {value: newDoc[name], enumerable: true});
      }
    });
    return kept;
  }

  // A value that was not as the rules say may be set right, and a merge takes the values of other revisions as well.
  function checkImmutable(model, version, before) {
    var MERGE = "tornado_couch_merge";
    if (has(newDoc, MERGE) && !(has(before, MERGE) && text(newDoc[MERGE]) === text(before[MERGE]))) {
      return;
    }
    model.immutable.forEach(function (name) {
      if (!has(before, name) || (has(newDoc, name) && text(newDoc[name]) === text(before[name]))) {
        return;
      }
      var only = {};
      Object.defineProperty(only, name, {value: before[name], enumerable: true});
      if (!version || !first(version.rule, function (pair) {
        return pair[0] === "members" && OBJECTS.members(pair[1], only, "");
      })) {
        refuse(is.name, at("", name) + ": cannot change");
      }
    });
  }

  if (newDoc._deleted === true || /^_design\//.test(newDoc._id)) {
    return;
  }
  var before = oldDoc && oldDoc._deleted !== true ? oldDoc : null;
  var was = before && typed(before);
  var is = typed(newDoc);
  if (was && (!is || was.name !== is.name)) {
    refuse(was.name, "/type: cannot change");
  }
  if (!is) {
    return;
  }
  var model = JSON.parse(is.text);
  var version = versionFor(model, is);
  if (version) {
    definitions = version.definitions;
    open = version.minor !== is.minor;
    var found = fault(version.rule, judged(version, before), "");
    if (found) {
      refuse(is.name, found);
    }
  }
  // Over what is only marked as deleted, a new document may be written.
  if (was && !has(before, "tornado_couch_deleted_on")) {
    checkImmutable(model, version, before);
  }
}
