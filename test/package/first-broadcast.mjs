/**
 * The first broadcast, from the installed package: `.ci/run` copies this file into an empty project.
 *
 * For now it only proves that both doors open.
 */
import * as Kosmonaut from "kosmonaut"
import * as Server from "kosmonaut/server"

for (const [door, module] of Object.entries({ "kosmonaut": Kosmonaut, "kosmonaut/server": Server })) {
  const names = Object.keys(module)
  if (names.length === 0) throw new Error(`${door} exports nothing`)
  console.log(`${door}: ${names.join(", ")}`)
}
