import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Origin from "../../../../../src/server/endpoint/internal/browser/origin.ts"

const allows = (origins: ReadonlyArray<string>) => Result.getOrThrow(Origin.make(origins))

describe("origins", () => {
  it.each<[string | undefined, string | undefined, boolean]>([
    ["http://localhost:5173", "127.0.0.1:8080", true],
    ["http://[::1]:5173", "localhost:8080", true],
    ["http://localhost.example.com", "localhost:8080", false],
    ["http://127.0.0.1.example.com", "127.0.0.1:8080", false],
    [undefined, "chat.example", true],
    [undefined, undefined, true],
    ["https://chat.example", "chat.example", true],
    ["http://chat.example:3000", "chat.example:8080", true],
    ["https://CHAT.example", "chat.EXAMPLE:443", true],
    ["http://[::1]:3000", "[::1]:8080", true],
    ["http://127.0.0.1:3000", "127.0.0.1:8080", true],
    ["https://evil.example", "chat.example", false],
    ["https://chat.example.evil.example", "chat.example", false],
    ["https://example", "chat.example", false],
    ["https://chat.example@evil.example", "chat.example", false],
    ["null", "chat.example", false],
    ["null", "null", false],
    ["", "chat.example", false],
    ["", "", false],
    ["nonsense", "nonsense", false],
    ["https://chat.example", undefined, false],
    ["file://", "", false]
  ])("without the option, a browser of %s at the host %s: %s", (origin, host, expected) => {
    assert.strictEqual(allows([])(origin, host), expected)
  })

  it.each<[string | undefined, boolean]>([
    [undefined, true],
    ["https://chat.example", true],
    ["https://CHAT.example", true],
    ["http://chat.example", false],
    ["https://chat.example:8443", false],
    ["http://dev.example:3000", true],
    ["http://dev.example", false],
    ["app://chat", true],
    ["https://broker.example", false],
    ["null", false],
    ["nonsense", false]
  ])("only those that are listed, whatever the host: %s %s", (origin, expected) => {
    const isAllowed = allows(["https://Chat.example:443", "http://dev.example:3000", "app://chat"])
    assert.strictEqual(isAllowed(origin, "broker.example"), expected)
  })

  it("null if it is listed, and all with *", () => {
    assert.isTrue(allows(["null"])("null", "a.example"))
    assert.isFalse(allows(["null"])("https://a.example", "a.example"))
    for (const origin of ["null", "https://b.example", "nonsense"]) assert.isTrue(allows(["*"])(origin, "a.example"))
  })

  it.each([
    "",
    "chat.example",
    "https://",
    "https://a.example/",
    "https://a.example/x",
    "https://a b",
    "*.example",
    "https://a.example?x"
  ])(
    "cannot be %j",
    (origin) => {
      const made = Origin.make(["*", origin])
      assert.isTrue(Result.isFailure(made))
      if (Result.isFailure(made)) {
        assert.strictEqual(made.failure._tag, "InvalidOptionError")
        assert.strictEqual(made.failure.option, "browsers.origins")
      }
    }
  )
})
