/// Every relation of pg_catalog and information_schema.
package enum SystemCatalog {
  package static let all: [SystemRelation] = []
}
