"""The Ringmesh node: accounts, SIP edge, services, admin API and command line."""
