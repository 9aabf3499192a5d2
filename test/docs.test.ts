/**
 * Every snippet of TypeScript and HTML in the documentation stands, word for word, in a program under docs/examples, which
 * `npm run check` compiles, or in a page there. What it links to exists, and comes with the package.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { optionFlags } from "../src/cli/OptionFlags.ts"
import { textOptions } from "../src/server/BrokerConfig.ts"

const root = path.resolve(import.meta.dirname, "..")
const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8")
const markdown = ["README.md", ...fs.globSync("docs/{,guide/}*.md", { cwd: root })]
const { files } = JSON.parse(read("package.json"))
const packaged = new Set(fs.globSync(files as Array<string>, { cwd: root }))
// Indentation is the place's, not the snippet's.
const unindented = (code: string) => code.replace(/^ +/gm, "")
const examples = fs.globSync("docs/examples/**/*.*", { cwd: root }).map((file) => unindented(read(file)))

// As GitHub makes them of headings.
const anchorsIn = (text: string) =>
  Array.from(
    text.matchAll(/^#+ (.*)$/gm),
    ([, heading]) => heading!.toLowerCase().replace(/[^\p{L}\p{N}\- ]/gu, "").replaceAll(" ", "-")
  )

describe.each(markdown)("%s", (file) => {
  it("shows only code that compiles", () => {
    for (const [, snippet] of read(file).matchAll(/^```(?:ts|html)\n(.*?)^```$/gms)) {
      assert.isTrue(
        examples.some((example) => example.includes(unindented(snippet!))),
        `not in docs/examples:\n${snippet}`
      )
    }
  })

  it("links to files that exist", () => {
    for (const [, target, anchor] of read(file).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#([^)]+))?\)/g)) {
      const linked = path.join(root, path.dirname(file), target!)
      assert.isTrue(fs.existsSync(linked), `${target} does not exist`)
      assert.isTrue(packaged.has(path.relative(root, linked)), `${target} is not among the files of package.json`)
      if (anchor !== undefined) assert.include(anchorsIn(fs.readFileSync(linked, "utf8")), anchor)
    }
  })
})

it("docs/README.md has all guides, in their order", () => {
  const linked = [...read("docs/README.md").matchAll(/\]\((guide\/[^)#]+)\)/g)].map(([, target]) => `docs/${target}`)
  assert.deepStrictEqual(linked, markdown.filter((file) => file.startsWith("docs/guide/")).sort())
})

it("README.md has all guides, in their order", () => {
  const listed = [...read("README.md").matchAll(/^\d+\. \[.*\]\((docs\/guide\/[^)#]+)\)$/gm)].map(([, target]) =>
    target!
  )
  assert.deepStrictEqual(listed, markdown.filter((file) => file.startsWith("docs/guide/")).sort())
})

it("docs/README.md has all programs", () => {
  const text = read("docs/README.md")
  const programs = fs.globSync("**/*.{ts,html}", { cwd: path.join(root, "docs/examples"), exclude: ["**/*.d.ts"] })
  assert.deepStrictEqual(programs.filter((file) => !text.includes(`](examples/${file})`)), [])
})

it("README.md has all commands", () => {
  const [, text] = read("README.md").split("## The command line")
  const commands = [...read("src/cli/Program.ts").matchAll(/subcommand\(\s*"([\w-]+)"/g)].map(([, name]) => name)
  assert.isAbove(commands.length, 5)
  assert.deepStrictEqual(commands.filter((name) => !new RegExp(`\`${name}\\b`).test(text!)), [])
})

/** Where a broker is, what it is made of, and how often it sends heartbeats: no limits. */
const others = [
  ...["host", "websocketPort", "backendPort", "tcpPort", "storageDir", "nodeName", "fsync", "heartbeat.interval"],
  ...[
    "heartbeat.maxMissed",
    "browsers.broadcast",
    "browsers.origins",
    "browsers.trustedProxies",
    "channelRules",
    "queue.redeliveryBackoff",
    "curve.clientKeys",
    "curve.secretKeyFile",
    "tls.cert",
    "tls.key",
    "tls.reloadInterval",
    "admin.port",
    "admin.host",
    "jwt.secretFile",
    "jwt.publicKeys",
    "jwt.jwksUrl",
    "jwt.audience",
    "jwt.issuer",
    "jwt.anyVhost"
  ]
]

it("docs/protocol.md has every limit that is an option, and no other option", () => {
  const [, text] = read("docs/protocol.md").split("## Limits")
  const limits = textOptions.map(({ path }) => path).filter((path) => !others.includes(path))
  const named = Array.from(
    text!.matchAll(/`((?:browsers|backends|queue|deadLetters|tokens|history|idempotency|jwt)\.\w+)`/g),
    ([, path]) => path!
  )
  assert.deepStrictEqual(limits.filter((path) => !text!.includes(`\`${path}\``)), [])
  assert.deepStrictEqual(named.filter((path) => !limits.includes(path)), [])
})

/** Numbers as the options have them: `10 000` is `10000`, `4 KiB` is `4KiB`, `1 minute` is `60s`. */
const compact = (text: string) =>
  text.replace(/(\d) (?=\d{3}\b)/g, "$1").replace(/(\d) (?=[KM]iB)/g, "$1").replace(
    /(\d+) (second|minute|hour)s?\b/g,
    (_, number, unit) => `${Number(number) * { second: 1, minute: 60, hour: 3600 }[unit as "hour"]}s`
  )

it("docs/protocol.md has the defaults of the limits", () => {
  const rows = compact(read("docs/protocol.md").split("## Limits")[1]!).split("\n")
  const wrong = textOptions.filter(({ path, standard }) => {
    const isNumber = standard !== undefined && /^\d/.test(standard)
    const isTold = new RegExp(`\\b${standard}\\b.*\`${path.replace(".", "\\.")}\``)
    return !others.includes(path) && isNumber && !rows.some((row) => isTold.test(row))
  })
  assert.deepStrictEqual(wrong.map(({ path, standard }) => `${path} is ${standard}`), [])
})

it("docs/guide/13-on-the-open-internet.md has every flag that limits browsers, beside its option", () => {
  const text = read("docs/guide/13-on-the-open-internet.md")
  const names: Record<string, string> = {
    "browsers.origins": "origin",
    "browsers.trustedProxies": "trusted-proxy",
    "curve.clientKeys": "curve-client-key",
    "jwt.publicKeys": "jwt-public-key"
  }
  const missing = textOptions.filter(({ flag, path }) => {
    const isLimit = path in optionFlags &&
      (path.includes(".") || path === "maxMessageSize" || path === "shutdownTimeout")
    return isLimit && !(text.includes(`${path}`) && text.includes(`--${names[path] ?? flag}`))
  })
  assert.deepStrictEqual(missing.map(({ path }) => path), [])
})
