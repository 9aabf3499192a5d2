/**
 * Keeps the shape of `src`: who may import whom, which foreign module comes in through which door, and what occurs
 * nowhere. The tables come first. When the design changes, change them, and `docs/architecture.md` with them.
 *
 * Sources are parsed, not searched, so words in comments and in strings are free.
 */
import { globSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import {
  areDocumented,
  areSmall,
  type Finder,
  fits,
  formNoCycle,
  imported,
  isWithin,
  kind,
  lineOf,
  member,
  name,
  parse,
  type Rule,
  type Violation,
  violation
} from "./harness/sourceTree.ts"

/** Any folder of the broker may import these. */
const brokerBasics = [
  "server/BrokerConfig.ts",
  "server/BrokerError.ts",
  "server/BrokerMetrics.ts",
  "server/ChannelRules.ts"
]

/** Who may import whom, types included. The longest row that fits a file counts; a folder may always import itself. */
const mayImport: Record<string, ReadonlyArray<string>> = {
  "protocol": [],
  "events": ["protocol"],
  "transport": ["protocol"],
  "client": ["protocol", "events", "transport"],
  "browser": ["protocol", "events"],
  "server/internal": [],
  "server/domain": ["protocol", ...brokerBasics],
  "server/store": ["protocol", "server/domain", ...brokerBasics],
  "server/cluster": ["protocol", "transport/AwakeClock.ts", "server/domain", "server/engine", ...brokerBasics],
  "server/engine": [
    "protocol",
    "server/Vhosts.ts",
    "server/domain",
    "server/store/Store.ts",
    "transport/EventLoop.ts",
    ...brokerBasics
  ],
  "server/endpoint": ["protocol", "transport", "server/domain", "server/engine", ...brokerBasics],
  "server/admin": [
    "protocol",
    "transport",
    "server/Vhosts.ts",
    "server/domain",
    "server/store/Store.ts",
    "server/engine",
    ...brokerBasics
  ],
  // For browsers: it knows the broker by what the API answers.
  "server/admin/internal/page": ["server/admin/AdminModel.ts"],
  "server/BrokerConfig.ts": ["protocol", "server/BrokerError.ts", "server/internal"],
  "server/ChannelRules.ts": ["server/BrokerConfig.ts", "server/BrokerError.ts", "server/internal"],
  "server/BrokerError.ts": ["protocol"],
  "server/BrokerMetrics.ts": ["protocol"],
  "server/Vhosts.ts": ["protocol", ...brokerBasics],
  "server/Broker.ts": ["protocol", "server", "transport"],
  "server/cluster/Restarting.ts": ["server/Vhosts.ts", "server/engine"],
  "server/index.ts": ["server"],
  "testing": ["protocol", "events", "transport", "client", "browser", "server"],
  "cli": ["protocol", "events", "transport", "client", "browser", "server"],
  "index.ts": ["protocol", "events", "transport", "client", "browser", "server"]
}

/** The files that may know Node.js. `*` stands for anything, here and below. */
const nodeOnly = [
  "transport/Tcp*.ts",
  "transport/TlsServer.ts",
  "transport/Curve*.ts",
  "transport/internal/curve.ts",
  "transport/internal/backendConnection.ts",
  "transport/Strangers.ts",
  "transport/internal/backendServer.ts",
  "transport/internal/reader.ts",
  "transport/internal/frameReader.ts",
  "transport/internal/writer.ts",
  "transport/internal/zmqSocket.ts",
  "transport/internal/tcpSocket.ts",
  "transport/internal/tlsSocket.ts",
  "transport/internal/zeromqModule.ts",
  "server/store/SqliteStore.ts",
  "server/cluster/internal/redisModule.ts",
  "server/endpoint/WebSocketEndpoint.ts",
  "server/endpoint/Certificate.ts",
  "server/endpoint/ServerKey.ts",
  "server/endpoint/TokenVerifier.ts",
  "server/endpoint/internal/jwt/*",
  "server/endpoint/internal/eventLoopMetrics.ts",
  "server/endpoint/internal/browser/*",
  "server/admin/AdminEndpoint.ts",
  "server/admin/internal/api.ts",
  "server/admin/internal/cookie.ts",
  "server/admin/internal/dashboard.ts",
  "server/admin/internal/gate.ts",
  "server/admin/internal/httpServer.ts",
  "server/admin/internal/readiness.ts",
  "server/Broker.ts",
  "cli/*"
]

/** The doors of foreign modules: the first row that fits an import says which files may have it. */
const doors: Record<string, ReadonlyArray<string>> = {
  "zeromq": ["transport/internal/zmqSocket.ts", "transport/internal/zeromqModule.ts"],
  "tweetnacl": ["transport/internal/tweetnaclModule.ts"],
  "jose": ["server/endpoint/internal/jwt/joseModule.ts"],
  "re2js": ["server/domain/Permission.ts"],
  "node:*": nodeOnly,
  "@effect/platform-node/*": nodeOnly,
  "effect/persistence/Redis": [
    "server/cluster/Connection.ts",
    "server/cluster/Script.ts",
    "server/cluster/internal/link.ts"
  ],
  "effect/*": ["*"]
}

/** What must not occur in which files, and what to do instead. */
const bans: Record<string, Record<string, readonly [Finder, string]>> = {
  "*": {
    "export default": [kind("ExportDefaultDeclaration"), "export it by name"],
    "enum": [kind("TSEnumDeclaration"), "use Schema.Literals or a union of strings"],
    "console": [name(/^console$/), "use Effect.log, or effect/Console in cli"],
    "Date.now": [member(/^Date\.now$/), "use effect/Clock, so that TestClock works"],
    "Math.random": [member(/^Math\.random$/), "use effect/Random"],
    "as any": [
      ({ typeAnnotation: to, type }) => type === "TSAsExpression" && to?.type === "TSAnyKeyword",
      "give the value its type, or decode it with a Schema"
    ],
    "async": [({ async }) => async === true, "use Effect.gen or Effect.fn"],
    "throw": [kind("ThrowStatement"), "fail with a tagged error: Effect.fail, Result.fail"],
    "try": [kind("TryStatement"), "use Effect.try or Result.try"]
  },
  "protocol/*": {
    "Effect.gen": [member(/^Effect\.(gen|fn|fnUntraced)$/), "use Schema, Result and plain functions"],
    "socket": [imported(/^effect\/(socket|net|http|workers)\//), "leave sockets to transport"],
    "timer": [name(/^set(Timeout|Interval|Immediate)$/), "leave time to client and server"],
    "clock": [imported(/^effect\/(Clock|Schedule)$/), "leave time to client and server"]
  },
  "events/*": {
    "service": [member(/^Context\.(Service|Reference)$/), "only declare here; client/EventRouter.ts runs handlers"],
    "fiber": [member(/^Effect\.(run|fork)/), "only declare here; client/EventRouter.ts runs handlers"]
  },
  "transport/*": {
    "vhost or channel": [name(/[Vv]host|channel|.Channel|Channel./), "a transport moves frames and does not read them"]
  },
  "server/domain/*": {
    "service": [imported(/^effect\/(Context|Layer)$/), "keep values and rules here; server/engine has services"],
    "state": [imported(/^effect\/(\w*Ref|Mutable\w+|Tx\w+)$/), "keep values and rules here; server/engine has state"]
  },
  "server/engine/*": {
    "socket": [imported(/^effect\/(socket|net|http)\//), "leave sockets to server/endpoint"]
  },
  "testing/*": {
    "socket": [imported(/^effect\/(socket|net|http)\//), "stay in memory"],
    "timer": [name(/^set(Timeout|Interval|Immediate)$/), "use Effect's clock and scheduler, so that TestClock works"]
  },
  "server/Broker.ts": {
    "branch": [kind("IfStatement", "SwitchStatement"), "only compose layers here"],
    "loop": [({ type }) => /^(For|While|DoWhile)/.test(type), "only compose layers here"]
  }
}

/** How many lines a file may have, and how many lines of code a function; one whose name begins with `make` builds something. */
const limits = { file: 400, make: 60, function: 40 }

/** What is larger, and how large. A new entry needs a reason; none may grow, and one that shrinks lowers its number. */
const large: Record<string, number> = {
  // One file that bundlers make the script of, whose interface is its documentation.
  "browser/script.ts": 443,
  "browser/script.ts subscribe": 41,
  "browser/internal/driver/driver.ts make": 67,
  // The hot paths of TCP, over variables that all of their functions share.
  "protocol/FrameParser.ts make": 80,
  "transport/internal/writer.ts make": 65
}

// --- The checker -----------------------------------------------------------------------------------------------------

const followTheTable: Rule = function*(modules) {
  for (const { file, imports } of modules) {
    const row = Object.keys(mayImport).filter((part) => isWithin(file, part)).sort((a, b) => b.length - a.length)[0]
    if (row === undefined) {
      yield violation(file, 1, "has no row in the table", "move it, or give its folder a row in `mayImport`")
      continue
    }
    for (const { file: target, line } of imports) {
      if (target === undefined || [row, ...mayImport[row]!].some((part) => isWithin(target, part))) continue
      const problem = `${row} may import ${mayImport[row]!.join(", ") || "nothing of ours"}; this is ${target}`
      yield violation(file, line, problem, "move what both need to where both may import it from")
    }
  }
}

const leaveInternalsAlone: Rule = function*(modules) {
  for (const { file, imports } of modules) {
    for (const { file: target, line } of imports) {
      const [owner, internal] = target?.split("/internal/") ?? []
      if (internal === undefined || isWithin(file, owner!)) continue
      yield violation(file, line, `${target} is internal to ${owner}`, `import a public module of ${owner}`)
    }
  }
}

const useTheDoors: Rule = function*(modules) {
  for (const { file, imports } of modules) {
    for (const { file: target, from, line } of imports) {
      if (target !== undefined) {
        if (from.endsWith(".ts")) continue
        yield violation(file, line, `"${from}" does not end with .ts`, "write the file's whole name")
      } else if (/^(effect|@effect\/platform-node)(\/[a-z][\w-]*)?$/.test(from)) {
        yield violation(file, line, `"${from}" is a barrel`, `import the module itself: "${from}/X"`)
      } else {
        const door = Object.keys(doors).find((pattern) => fits(from, pattern))
        if (door === undefined) {
          yield violation(file, line, `"${from}" has no door`, "do without it, or give it a row in `doors`")
        } else if (!doors[door]!.some((pattern) => fits(file, pattern))) {
          yield violation(file, line, `"${from}" is for ${doors[door]!.join(", ")} only`, "go through that file")
        }
      }
    }
  }
}

const containNothingBanned: Rule = function*(modules) {
  for (const { file, nodes, text } of modules) {
    const places = Object.keys(bans).filter((place) => fits(file, place))
    for (const place of places) {
      for (const [what, [found, todo]] of Object.entries(bans[place]!)) {
        for (const node of nodes.filter(found)) {
          yield violation(file, lineOf(text, node), `no ${what} in src/${place}`, todo)
        }
      }
    }
  }
}

const rules: Record<string, Rule> = {
  "imports follow the table": followTheTable,
  "imports leave internals alone": leaveInternalsAlone,
  "imports of foreign modules use their doors": useTheDoors,
  "imports form no cycle": formNoCycle,
  "modules contain nothing banned": containNothingBanned,
  "modules and their exports are documented": areDocumented,
  "files and functions are small": areSmall(limits, large)
}

const expectNone = (violations: ReadonlyArray<Violation>) => {
  const lines = violations.map(({ file, line, problem, todo }) => `${file}:${line}  ${problem}\n    → ${todo}`)
  if (lines.length > 0) expect.fail(`\n${lines.join("\n")}`)
}

// --- The tests -------------------------------------------------------------------------------------------------------

const read = (path: string) => readFileSync(path, "utf8")

describe("src", () => {
  const files = globSync("**/*.ts", { cwd: "src" })
  const modules = files.map((file) => parse(file, read(`src/${file}`)))

  it("has modules to check", () => {
    expect(files).not.toEqual([])
  })

  it.each(Object.entries(rules))("%s", (_, rule) => {
    expectNone([...rule(modules)].map((violation) => ({ ...violation, file: `src/${violation.file}` })))
  })

  it("closes its internal folders in package.json", () => {
    const { exports } = JSON.parse(read("package.json"))
    const closed = Object.keys(exports).filter((door) => exports[door] === null).map((door) => door.slice(0, -1))
    const open = globSync("**/internal", { cwd: "src" }).filter((folder) =>
      !closed.some((door) => `./${folder}/`.startsWith(door))
    )
    expect(open, "folders that lack `\"./<folder>/*\": null` in the exports of package.json").toEqual([])
  })
})

describe("the checker", () => {
  const problems = (file: string, ...lines: ReadonlyArray<string>) => {
    const modules = [parse(file, lines.join("\n"))]
    return Object.values(rules).flatMap((rule) => [...rule(modules)]).map(({ line, problem }) => `${line}: ${problem}`)
  }

  it.each([
    [
      "client/A.ts",
      `import type * as B from "../server/B.ts"`,
      "client may import protocol, events, transport; this is"
    ],
    ["client/A.ts", `type B = import("../browser/B.ts").B`, "client may import protocol, events, transport; this is"],
    ["client/A.ts", `export * from "../transport/internal/b.ts"`, "transport/internal/b.ts is internal to transport"],
    ["client/A.ts", `import * as A from "./A.ts"`, "imports in a circle: client/A.ts → client/A.ts"],
    ["client/A.ts", `import { B } from "./B.js"`, `"./B.js" does not end with .ts`],
    ["client/A.ts", `import { Effect } from "effect"`, `"effect" is a barrel`],
    [
      "client/A.ts",
      `import * as Zmq from "zeromq"`,
      `"zeromq" is for transport/internal/zmqSocket.ts, transport/internal/zeromqModule.ts only`
    ],
    ["client/A.ts", `import "lodash"`, `"lodash" has no door`],
    ["client/A.ts", "export const a = 1", "a has no doc comment"],
    ["client/A.ts", "const a = 1; export { a as b }", "a has no doc comment"],
    ["protocol/A.ts", "setTimeout(f)", "no timer in src/protocol/*"],
    ["events/A.ts", `class A extends Context.Service<A, {}>()("A") {}`, "no service in src/events/*"],
    ["events/A.ts", "Effect.forkScoped(a)", "no fiber in src/events/*"],
    ["transport/A.ts", "const channel = 1", "no vhost or channel in src/transport/*"],
    ["server/domain/A.ts", `import * as Ref from "effect/Ref"`, "no state in src/server/domain/*"],
    ["server/engine/A.ts", `import * as Socket from "effect/socket/Socket"`, "no socket in src/server/engine/*"],
    ["testing/A.ts", `import * as Socket from "effect/socket/Socket"`, "no socket in src/testing/*"],
    ["testing/A.ts", "setImmediate(f)", "no timer in src/testing/*"],
    ["server/Broker.ts", "for (;;) {}", "no loop in src/server/Broker.ts"]
  ])("objects in %s to %s", (file, line, problem) => {
    expect(problems(file, "/** A module. */", line)).toEqual([expect.stringContaining(`2: ${problem}`)])
  })

  it("objects to a circle of several modules", () => {
    const modules = ["a", "b", "c"].map((name, index) => parse(`${name}.ts`, `import "./${"bca"[index]}.ts"`))
    expect([...formNoCycle(modules)].map(({ problem }) => problem)).toEqual([
      "imports in a circle: a.ts → b.ts → c.ts → a.ts"
    ])
  })

  it("objects to each thing banned everywhere", () => {
    const lines = [
      "export default 1",
      "enum A { B }",
      "globalThis.console.log(1)",
      "Date.now()",
      "Math.random()",
      "1 as any",
      "async () => 1",
      "throw 1",
      "try {} finally {}"
    ]
    const expected = Object.keys(bans["*"]!).map((what, index) => `${index + 2}: no ${what} in src/*`)
    expect(problems("client/A.ts", "/** A module. */", ...lines)).toEqual(expected)
  })

  it("objects to what is large, and to exceptions that are not needed any more", () => {
    const lines = (count: number) => Array.from({ length: count }, () => "  f()")
    const rule = areSmall(limits, large)
    const sizesOf = (file: string, ...text: ReadonlyArray<string>) =>
      [...rule([parse(file, text.join("\n"))])].map(({ problem }) => problem)
    expect(sizesOf("client/A.ts", "const a = () => {", ...lines(38), "}", "const make = () => {", ...lines(58), "}"))
      .toEqual([])
    expect(sizesOf("client/A.ts", "const a = () => {", ...lines(39), "}", "const makeB = () => {", ...lines(59), "}"))
      .toEqual([
        "client/A.ts a has 41 lines, allowed are 40",
        "client/A.ts makeB has 61 lines, allowed are 60"
      ])
    expect(sizesOf("client/A.ts", "const a = () => {", ...lines(38), "", "  // Why.", "}")).toEqual([])
    expect(sizesOf("client/A.ts", ...lines(402))).toEqual(["client/A.ts has 401 lines, allowed are 400"])
    expect(sizesOf("transport/internal/writer.ts", "const make = () => {", ...lines(60), "}")).toEqual([
      "transport/internal/writer.ts make has 62 lines, allowed are 65"
    ])
    expect(sizesOf("transport/internal/writer.ts", "f()")).toEqual(["transport/internal/writer.ts make is small"])
  })

  it("objects to files without a header or a place", () => {
    expect(problems("helpers/A.ts", "/* A */")).toEqual([
      "1: has no row in the table",
      "1: begins without a doc comment"
    ])
  })

  it("has nothing against comments, strings and good code", () => {
    const lines = [
      "#!/usr/bin/env node",
      "/** A module without try, async or console. */",
      `import * as Effect from "effect/Effect"`,
      `import { request } from "./internal/request.ts"`,
      `export { type Endpoint } from "../protocol/Endpoint.ts"`,
      "// throw console.log(Date.now() as any)",
      `const quoted = "try { async }" + \`throw \${/"async/.source}\``,
      "/** Documented. */",
      "export const a = Effect.succeed([quoted, request])"
    ]
    expect(problems("client/A.ts", ...lines)).toEqual([])
  })
})
