extension Syntax {
  package enum RoleName: Hashable, Sendable {
    case named(Name)
    case everyone
    case currentRole
    case currentUser
    case sessionUser
  }

  package struct CreateRole: Hashable, Sendable {
    /// `CREATE USER` differs from `CREATE ROLE` in that LOGIN is the default.
    package enum Kind: Hashable, Sendable { case role, user, group }
    package var kind: Kind
    package var name: Name
    package var options: [RoleOption] = []
    @SourcePosition package var position: Int = 0
  }

  package struct RoleOption: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      case superuser(Bool)
      case createDatabase(Bool)
      case createRole(Bool)
      case inherit(Bool)
      case login(Bool)
      case replication(Bool)
      case bypassRowSecurity(Bool)
      case connectionLimit(String)
      /// Nil: `PASSWORD NULL`.
      case password(String?)
      case validUntil(String)
      case inRole([RoleName])
      case members([RoleName])
      case administrators([RoleName])
      case systemIdentifier(String)
    }
    package var kind: Kind
    @SourcePosition package var position: Int = 0
  }

  package struct AlterRole: Hashable, Sendable {
    package var role: RoleName
    package var options: [RoleOption]
    @SourcePosition package var position: Int = 0
  }

  /// `ALTER ROLE r | ALL [IN DATABASE d] SET … | RESET …`, and `ALTER DATABASE d SET … | RESET …` (then `role` is nil).
  package struct AlterRoleSetting: Hashable, Sendable {
    package enum Change: Hashable, Sendable {
      case set(SetSetting)
      case reset(Reset)
    }
    package var role: RoleName?
    package var database: Name?
    package var change: Change
    @SourcePosition package var position: Int = 0
  }

  package struct DropRole: Hashable, Sendable {
    package var roles: [RoleName]
    package var ifExists = false
    @SourcePosition package var position: Int = 0
  }

  package struct Privilege: Hashable, Sendable {
    /// `select`, `insert`, `usage`…, lower case.
    package var name: String
    package var columns: [Name] = []
    @SourcePosition package var position: Int = 0
  }

  /// GRANT and REVOKE of privileges on objects.
  package struct Grant: Hashable, Sendable {
    package enum Objects: Hashable, Sendable {
      /// Table, sequence, schema, database.
      case named(ObjectKind, [QualifiedName])
      /// `ALL TABLES IN SCHEMA s`, `ALL SEQUENCES IN SCHEMA s`.
      case allIn(ObjectKind, schemas: [Name])
    }
    package var isGrant: Bool
    /// Empty: ALL PRIVILEGES (its `columns`, if any, are in `allColumns`).
    package var privileges: [Privilege]
    package var allColumns: [Name] = []
    package var objects: Objects
    package var roles: [RoleName]
    /// `WITH GRANT OPTION`, or `REVOKE GRANT OPTION FOR`.
    package var grantOption = false
    package var grantedBy: RoleName?
    package var behavior: DropBehavior = .restrict
    @SourcePosition package var position: Int = 0
  }

  /// `ALTER DEFAULT PRIVILEGES [FOR ROLE …] [IN SCHEMA …] GRANT … | REVOKE …`; the grant's objects have a kind and no names.
  package struct AlterDefaultPrivileges: Hashable, Sendable {
    package var roles: [RoleName] = []
    package var schemas: [Name] = []
    package var grant: Grant
    @SourcePosition package var position: Int = 0
  }

  /// GRANT and REVOKE of membership.
  package struct GrantRole: Hashable, Sendable {
    package var isGrant: Bool
    package var granted: [Name]
    package var roles: [RoleName]
    package var adminOption = false
    package var grantedBy: RoleName?
    package var behavior: DropBehavior = .restrict
    @SourcePosition package var position: Int = 0
  }
}
