/**
 * The nodes of a cluster: shown where there are several. What the rest of the page counts is that of the one that is asked.
 */

import type * as Model from "../../AdminModel.ts"
import * as Api from "./api.ts"
import { make as element } from "./elements.ts"
import * as Format from "./format.ts"
import * as Table from "./table.ts"

type Answer = typeof Model.Nodes.Type

/** A node, and whether it is the one that is asked. */
type Node = Answer["nodes"][number] & { readonly isSelf: boolean }

/** The nodes in the page. */
export interface Nodes {
  readonly element: HTMLElement
  /** Reads them, and hides them if there are not several. */
  readonly refresh: () => void
}

const loadOf = (what: string) => ({ load }: Node): string => {
  const value = load[what]
  return value === undefined ? "–" : Format.count(value)
}

/** Makes the part of the page. */
export const make = (): Nodes => {
  const table = Table.make<Node>({
    label: "Nodes",
    columns: [
      {
        title: "Node",
        kind: "name",
        text: ({ isSelf, name, node }) => `${name || node}${isSelf ? " (this one)" : ""}`
      },
      { title: "Lease ends in", kind: "number", text: ({ leaseSeconds }) => Format.seconds(leaseSeconds) },
      { title: "Browsers", kind: "number", text: loadOf("browsers") },
      { title: "Workers", kind: "number", text: loadOf("workers") },
      { title: "Position", kind: "number", text: loadOf("position") },
      { title: "Version", kind: "number", text: ({ version }) => version }
    ],
    keyOf: ({ node }) => node
  })
  const section = element(
    "section",
    { class: "card", hidden: true, "aria-label": "Nodes" },
    element("h2", {}, "Nodes of this cluster"),
    table.element
  )
  return {
    element: section,
    refresh: () => {
      void Api.send<Answer>("GET", "/api/nodes").then((outcome) => {
        if (outcome._tag !== "Done") return
        const { nodes, self } = outcome.value
        section.hidden = nodes.length < 2
        table.show(nodes.map((node) => ({ ...node, isSelf: node.node === self })).sort(byName), "")
      })
    }
  }
}

// Each stays where it is, however long its lease.
const byName = (one: Node, other: Node): number =>
  one.name.localeCompare(other.name) || one.node.localeCompare(other.node)
