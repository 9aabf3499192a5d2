/**
 * What no file of the repository tells: the machines that it was written on.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { expect, it } from "vitest"

const secrets = {
  "an absolute path of somebody's machine": /(?<![\w.-])(\/work\/|\/root\/|\/home\/\w|\/Users\/\w)/,
  "a private registry": /("resolved": |registry[ =])"?(?!https:\/\/registry\.npmjs\.org\/)https?:/,
  "a private host": /\bhttps?:\/\/[\w.-]+\.(internal|intranet|corp|lan|local)\b/
}

const secretsIn = (file: string, text: string): ReadonlyArray<string> =>
  text.split("\n").flatMap((line, index) =>
    Object.entries(secrets).flatMap(([what, pattern]) =>
      pattern.test(line) ? [`${file}:${index + 1} tells ${what}: use relative paths and public hosts`] : []
    )
  )

it("the repository does not tell where it was written", () => {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
  const files = listed.toString().split("\0").filter((file) => file !== "" && existsSync(file))
  expect(files.flatMap((file) => secretsIn(file, readFileSync(file, "utf8")))).toEqual([])
})

it("finds what tells where a file was written", () => {
  const path = ["", "work", "main", "src"].join("/")
  const text = [
    `see ${path}`,
    `"resolved": ${JSON.stringify("http://npm.example/x.tgz")}`,
    `https://docs.example/work/x`
  ].join("\n")
  expect(secretsIn("x", text)).toEqual([
    expect.stringMatching("^x:1 tells an absolute path"),
    expect.stringMatching("^x:2 tells a private registry")
  ])
})
