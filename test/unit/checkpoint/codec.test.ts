import { isDeepStrictEqual } from "node:util";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { depthMax } from "../../../src/checkpoint/codec/walk.ts";
import { decodeValue, encodeValue, formatNumber, valueBytesMax } from "../../../src/checkpoint/codec.ts";
import { AgentmaticError } from "../../../src/errors.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes.subarray(1));
const stored = (json: string) => new Uint8Array([formatNumber, ...new TextEncoder().encode(json)]);
const roundTrip = (value: unknown) => decodeValue(encodeValue(value));

function refusalOf(run: () => unknown): AgentmaticError {
  try {
    run();
  } catch (error) {
    if (error instanceof AgentmaticError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("the bytes", () => {
  test("begin with the format number, and plain data follows as plain JSON", () => {
    const state = { a: [1, "é", null, true], b: { c: "" } };
    const bytes = encodeValue(state);
    expect(bytes[0]).toBe(1);
    expect(text(bytes)).toBe(JSON.stringify(state));
  });

  test("of format 1 stay readable for ever", () => {
    const sample =
      '{"u":{"$am":["undefined"]},"n":[{"$am":["number","NaN"]},{"$am":["number","-Infinity"]},{"$am":["number","-0"]}],' +
      '"b":{"$am":["bigint","-ff"]},"d":{"$am":["date",0]},"x":{"$am":["date",null]},"m":{"$am":["map","k",1]},' +
      '"s":{"$am":["set",1]},"y":{"$am":["bytes","AP8="]},"r":{"$am":["regexp","a+","gi",2]},"l":{"$am":["url","https://a.b/"]},' +
      '"e":{"$am":["error","TypeError","bad","code",7]},"o":{"$am":["object","$am",1]},"p":{"$am":["bare","k",1]}}';
    const regexp = /a+/gi;
    regexp.lastIndex = 2;
    const value = {
      u: undefined,
      n: [Number.NaN, Number.NEGATIVE_INFINITY, -0],
      b: -255n,
      d: new Date(0),
      x: new Date(Number.NaN),
      m: new Map([["k", 1]]),
      s: new Set([1]),
      y: new Uint8Array([0, 255]),
      r: regexp,
      l: new URL("https://a.b"),
      e: Object.assign(new TypeError("bad"), { code: 7 }),
      o: { $am: 1 },
      p: Object.assign(Object.create(null), { k: 1 }),
    };
    expect(text(encodeValue(value))).toBe(sample);
    expect(decodeValue(stored(sample))).toStrictEqual(value);
  });

  test("of another format are refused with both numbers", () => {
    const error = refusalOf(() => decodeValue(new Uint8Array([7, 123, 125])));
    expect(error.code).toBe("FailedPrecondition");
    expect(error.message).toMatch(/format 7.*format 1/);
  });

  test.each([
    ["nothing", new Uint8Array()],
    ["no JSON", stored("")],
    ["cut JSON", stored('{"a":')],
    ["no UTF-8", new Uint8Array([1, 34, 255, 34])],
    ["an unknown tag", stored('{"$am":["function","alert(1)"]}')],
    ["a tag that is no list", stored('{"$am":1}')],
    ["a tag with company", stored('{"$am":["undefined"],"b":1}')],
    ["a bigint that is none", stored('{"$am":["bigint","0x1"]}')],
    ["a number word that is none", stored('{"$am":["number","12"]}')],
    ["a date that is none", stored('{"$am":["date","now"]}')],
    ["a map with a missing value", stored('{"$am":["map",1,2,3]}')],
    ["bytes that are no base64", stored('{"$am":["bytes","*"]}')],
    ["a regular expression that is none", stored('{"$am":["regexp","(","",0]}')],
    ["a regular expression with unknown flags", stored('{"$am":["regexp","a","gg",0]}')],
    ["a regular expression beyond the bound", stored(`{"$am":["regexp","${"a".repeat(5000)}","",0]}`)],
    ["a URL that is none", stored('{"$am":["url","nowhere"]}')],
    ["nesting without end", stored(`${"[".repeat(5000)}{"$am":["undefined"]}${"]".repeat(5000)}`)],
  ])("that are damaged are DataLoss: %s", (_, bytes) => {
    expect(refusalOf(() => decodeValue(bytes)).code).toBe("DataLoss");
  });
});

describe("what JSON loses comes back", () => {
  test.each<[string, unknown]>([
    ["undefined at the top", undefined],
    ["undefined within", { a: undefined, b: [undefined, 1] }],
    ["NaN, infinities, -0", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0]],
    ["BigInt", [0n, -1n, 2n ** 200n, -(2n ** 200n)]],
    ["Date", [new Date(0), new Date(8.64e15), new Date(Number.NaN)]],
    [
      "Map",
      new Map<unknown, unknown>([
        [{ a: 1 }, new Map()],
        [undefined, [1n]],
        ["k", undefined],
      ]),
    ],
    ["Set", new Set([1, "1", undefined, new Date(1)])],
    ["bytes", [new Uint8Array(), new Uint8Array([0, 255, 1])]],
    ["bytes of several chunks", new Uint8Array(200_000).map((_, index) => index % 251)],
    ["a view into a larger buffer", new Uint8Array([1, 2, 3, 4]).subarray(1, 3)],
    ["RegExp", [/a\/b[/]\n/gimsuy, /[\p{L}--a]/v, /(?:)/]],
    ["URL", new URL("https://user@example.org:81/a?b=c#d")],
    [
      "keys like a tag",
      [{ $am: 1 }, { $am: ["undefined"] }, { a: { $am: { $am: [] } }, $am: undefined }, "$am", '"$am"'],
    ],
    ["strings with halves of pairs and zeros", ["\ud800", "\udfff\ud800", "a\u0000b", "\u2028", ""]],
    ["an object without prototype", Object.assign(Object.create(null), { a: 1, b: undefined })],
    ["odd keys", { "": 1, "1": 2, "a.b": 3, constructor: 4, toString: 5, hasOwnProperty: 6 }],
    ["a date behind plain data", { a: 1, b: { c: [1, { d: new Date(5) }] } }],
  ])("%s", (_, value) => {
    expect(roundTrip(value)).toStrictEqual(value);
  });

  test("errors, with class, cause and fields, without their stack", () => {
    const error = Object.assign(new RangeError("far", { cause: { at: new Date(3), of: new Error("root") } }), {
      code: 5n,
    });
    const back = roundTrip(error) as RangeError & { code: bigint; cause: { at: Date; of: Error } };
    expect(back).toBeInstanceOf(RangeError);
    expect([back.name, back.message, back.code, back.cause.at]).toEqual(["RangeError", "far", 5n, new Date(3)]);
    expect(back.cause.of.message).toBe("root");
    expect(back.stack).toBe("RangeError: far");
    expect(Object.keys(back)).toEqual(["code"]);
  });

  test("errors of a class of their own keep name and fields", () => {
    const back = roundTrip(new AgentmaticError("FencedOut", "stop", { details: { epoch: 3 } }));
    expect(AgentmaticError.is(back, "FencedOut")).toBe(true);
    expect(AgentmaticError.from(back)).toMatchObject({ code: "FencedOut", message: "stop" });
    expect(roundTrip(new DOMException("gone", "AbortError"))).toMatchObject({ name: "AbortError", message: "gone" });
    expect((roundTrip(new AggregateError([new Error("a")], "all")) as AggregateError).errors[0].message).toBe("a");
  });

  test("a value that stands in two places", () => {
    const shared = { at: new Date(1) };
    expect(roundTrip([shared, { again: shared }])).toEqual([shared, { again: shared }]);
  });

  test("values of another realm", () => {
    expect(roundTrip(runInNewContext("({ a: [1, { b: 'c' }] })"))).toEqual({ a: [1, { b: "c" }] });
    expect(roundTrip(runInNewContext("new TypeError('x')"))).toBeInstanceOf(TypeError);
  });

  test("an own key __proto__, without touching any prototype", () => {
    for (const json of ['{"__proto__":{"polluted":1}}', '{"__proto__":{"polluted":1},"d":0}']) {
      const value = JSON.parse(json);
      if ("d" in value) value.d = new Date(1);
      const back = roundTrip({ plain: value, tagged: Object.assign(JSON.parse(json), { $am: 1 }) }) as Record<
        string,
        object
      >;
      for (const object of Object.values(back)) {
        expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
        expect(Object.hasOwn(object, "__proto__")).toBe(true);
        expect("polluted" in object).toBe(false);
      }
    }
    const dated = JSON.parse('{"__proto__":0}');
    Object.defineProperty(dated, "__proto__", { value: new Date(7), enumerable: true });
    expect(Object.getOwnPropertyDescriptor(roundTrip(dated), "__proto__")?.value).toEqual(new Date(7));
  });

  test("the input is left as it was", () => {
    const value = { a: [undefined, { b: 1n }], c: new Map([["k", -0]]) };
    const before = structuredClone(value);
    encodeValue(value);
    expect(value).toStrictEqual(before);
  });
});

class Point {
  x = 1;
}
const cyclic: { self: unknown[] } = { self: [] };
cyclic.self.push(cyclic);
const nested = (depth: number): unknown => (depth === 0 ? [] : [nested(depth - 1)]);

describe("what cannot be kept is refused by its path", () => {
  const at = (value: unknown) => ({ messages: [0, 1, 2, { createdAt: value }] });
  test.each<[string, unknown, string, RegExp]>([
    ["function", at(() => 1), "messages[3].createdAt", /a function/],
    ["symbol", at(Symbol("s")), "messages[3].createdAt", /a symbol/],
    ["symbol key", at({ [Symbol("s")]: 1 }), "messages[3].createdAt", /symbol keys/],
    ["class instance", at(new Point()), "messages[3].createdAt", /an instance of Point/],
    ["subclass of a built-in", at(new (class Log extends Map {})()), "messages[3].createdAt", /an instance of Log/],
    ["subclass of Array", at(new (class List extends Array {})()), "messages[3].createdAt", /an instance of List/],
    ["prototype in disguise", at(Object.create(Date.prototype)), "messages[3].createdAt", /Date/],
    ["WeakMap", at(new WeakMap()), "messages[3].createdAt", /WeakMap/],
    ["Promise", at(Promise.resolve()), "messages[3].createdAt", /Promise/],
    ["other typed array", at(new Float64Array(1)), "messages[3].createdAt", /Float64Array/],
    ["ArrayBuffer", at(new ArrayBuffer(1)), "messages[3].createdAt", /ArrayBuffer/],
    ["Buffer", at(Buffer.from("a")), "messages[3].createdAt", /Buffer \(hand in a Uint8Array\)/],
    ["boxed primitive", at(Object("a")), "messages[3].createdAt", /String/],
    ["hidden property", at(Object.defineProperty({}, "h", { value: 1 })), "messages[3].createdAt", /hidden/],
    ["holes", at(new Array(3)), "messages[3].createdAt", /holes/],
    ["array with a field", at(Object.assign([1], { index: 0 })), "messages[3].createdAt", /properties of its own/],
    [
      "date with a field",
      at(Object.assign(new Date(), { zone: "x" })),
      "messages[3].createdAt",
      /properties of its own/,
    ],
    ["cycle", at(cyclic), "messages[3].createdAt.self[0]", /cycle/],
    ["function in a map", at(new Map([["k", () => 1]])), 'messages[3].createdAt.get("k")', /a function/],
    ["function as a key", at(new Map([[() => 1, 1]])), "messages[3].createdAt.keys()[0]", /a function/],
    ["function in a set", at(new Set([0, () => 1])), "messages[3].createdAt.values()[1]", /a function/],
    ["function under an odd key", at({ "a b": () => 1 }), 'messages[3].createdAt["a b"]', /a function/],
    [
      "function in an error",
      at(Object.assign(new Error("e"), { retry: () => 1 })),
      "messages[3].createdAt.retry",
      /a function/,
    ],
    ["long regular expression", at(new RegExp("a".repeat(5000))), "messages[3].createdAt", /4096/],
  ])("%s", (_, value, path, problem) => {
    const error = refusalOf(() => encodeValue(value));
    expect(error.code).toBe("StateNotSerializable");
    expect(error.details).toEqual({ path });
    expect(error.message.startsWith(`${path}: `)).toBe(true);
    expect(error.message).toMatch(problem);
  });

  test("accessors, without running them", () => {
    let ran = 0;
    const getter = {
      get a() {
        ran += 1;
        return 1;
      },
    };
    const setter = {
      set a(_: number) {
        ran += 1;
      },
    };
    const failing = Object.defineProperty(new Error("e"), "name", { get: () => ++ran });
    for (const value of [getter, setter])
      expect(refusalOf(() => encodeValue({ x: value })).details).toEqual({ path: "x.a" });
    expect(refusalOf(() => encodeValue(failing)).details).toEqual({ path: "name" });
    expect(ran).toBe(0);
  });

  test("the caller's name stands in front", () => {
    expect(refusalOf(() => encodeValue([() => 1], "state.tools")).details).toEqual({ path: "state.tools[0]" });
    expect(refusalOf(() => encodeValue(() => 1)).message).toMatch(/^value: /);
  });

  test("depth, at its bound and one beyond", () => {
    expect(roundTrip(nested(depthMax - 1))).toEqual(nested(depthMax - 1));
    const sets = (depth: number): unknown => (depth === 0 ? undefined : new Set([sets(depth - 1)]));
    expect(roundTrip(sets(depthMax))).toEqual(sets(depthMax));
    const error = refusalOf(() => encodeValue(nested(depthMax)));
    expect(error.message).toMatch(/deeper than 500/);
    expect(error.message.length).toBeLessThan(400);
  });

  test("size, by the default and by the option", () => {
    expect(encodeValue("x".repeat(97), "", { maxBytes: 100 }).length).toBe(100);
    expect(refusalOf(() => encodeValue("x".repeat(98), "a", { maxBytes: 100 })).message).toMatch(/^a: .*100/);
    // Characters of several bytes are seen only once encoded.
    expect(refusalOf(() => encodeValue("é".repeat(60), "a", { maxBytes: 100 })).code).toBe("StateNotSerializable");
    expect(refusalOf(() => encodeValue(["x".repeat(valueBytesMax)])).code).toBe("StateNotSerializable");
    expect(refusalOf(() => encodeValue(new Uint8Array(valueBytesMax))).code).toBe("StateNotSerializable");
    expect(refusalOf(() => encodeValue(new Array(valueBytesMax + 1).fill(0))).code).toBe("StateNotSerializable");
  });

  test("shared parts that would unfold without end", () => {
    let value: unknown = "x";
    for (let level = 0; level < 60; level++) value = [value, value];
    expect(refusalOf(() => encodeValue(value, "", { maxBytes: 100_000 })).message).toMatch(/100000 bytes/);
  });
});

describe("any value", () => {
  const key = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("$am", "__proto__", "constructor", "toJSON", "1", ""),
  );
  const leaf = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constantFrom(null, undefined, -0, "$am", '{"$am":["undefined"]}'),
    fc.bigInt(),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array({ maxLength: 40 }),
    fc.webUrl().map((url) => new URL(url)),
    fc.constantFrom(/a/g, /[^\n]\/\\/u, /(?:)/),
    fc.string().map((message) => new TypeError(message)),
  );
  const { any } = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      leaf,
      tie("array"),
      tie("object"),
      tie("bare"),
      tie("map"),
      tie("set"),
    ),
    array: fc.array(tie("any"), { maxLength: 6 }),
    object: fc.array(fc.tuple(key, tie("any")), { maxLength: 6 }).map((pairs) => Object.fromEntries(pairs)),
    bare: fc.dictionary(key, tie("any"), { maxKeys: 4, noNullPrototype: false }),
    map: fc.array(fc.tuple(tie("any"), tie("any")), { maxLength: 4 }).map((pairs) => new Map(pairs)),
    set: fc.array(tie("any"), { maxLength: 4 }).map((items) => new Set(items)),
  }));

  test("comes back equal, and encodes to the same bytes again", () => {
    fc.assert(
      fc.property(any, (value) => {
        const bytes = encodeValue(value);
        const back = decodeValue(bytes);
        expect(encodeValue(back)).toEqual(bytes);
        if (!isDeepStrictEqual(back, value)) expect(back).toStrictEqual(value);
      }),
      { numRuns: 2000 },
    );
  });

  test("whatever else the engine hands in is stored faithfully or refused, never changed", () => {
    const odd = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withObjectString: true,
      withSparseArray: true,
      withTypedArray: true,
      withBoxedValues: true,
    });
    fc.assert(
      fc.property(odd, (value) => {
        let bytes: Uint8Array;
        try {
          bytes = encodeValue(value);
        } catch (error) {
          return AgentmaticError.is(error, "StateNotSerializable");
        }
        expect(decodeValue(bytes)).toStrictEqual(value);
        return true;
      }),
      { numRuns: 2000 },
    );
  });

  test("damaged bytes decode to some value or to DataLoss, never to another error", () => {
    const damage = fc.tuple(any, fc.nat(), fc.nat({ max: 255 }), fc.boolean());
    fc.assert(
      fc.property(damage, ([value, at, byte, cut]) => {
        const bytes = encodeValue(value);
        const place = 1 + (at % Math.max(1, bytes.length - 1));
        const broken = cut ? bytes.slice(0, place) : bytes.slice();
        if (!cut && place < broken.length) broken[place] = byte;
        try {
          decodeValue(broken);
          return true;
        } catch (error) {
          return AgentmaticError.is(error, "DataLoss");
        }
      }),
      { numRuns: 2000 },
    );
  });
});
