// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// The access rules that the benchmark compares: who is registered, which records a patient has,
/// who may read them until when, and a log entry for every read.
contract AccessControl {
    enum Role { None, Patient, Doctor }
    struct Grant { address patient; address reader; uint64 untilS; bool isRevoked; }

    mapping(address => Role) public roles;
    mapping(bytes32 => address) public ownerOf;
    mapping(bytes32 => bytes32) public digestOf;
    mapping(bytes32 => Grant) public grants;

    event Registered(address indexed who, Role role);
    event RecordAdded(bytes32 indexed record, address indexed patient, bytes32 digest);
    event Granted(bytes32 indexed grant, address indexed patient, address indexed reader, uint64 untilS);
    event Revoked(bytes32 indexed grant);
    event Read(bytes32 indexed record, address indexed reader, bytes32 grant);

    error Refused(string code);

    function register(Role role) external {
        if (role == Role.None) revert Refused("identity.role");
        if (roles[msg.sender] != Role.None) revert Refused("identity.registered");
        roles[msg.sender] = role;
        emit Registered(msg.sender, role);
    }

    function addRecord(bytes32 record, bytes32 digest) external {
        if (roles[msg.sender] != Role.Patient) revert Refused("record.not_patient");
        if (ownerOf[record] != address(0)) revert Refused("record.exists");
        ownerOf[record] = msg.sender;
        digestOf[record] = digest;
        emit RecordAdded(record, msg.sender, digest);
    }

    function grant(bytes32 id, address reader, uint64 untilS) external {
        if (roles[msg.sender] != Role.Patient) revert Refused("access.not_patient");
        if (roles[reader] != Role.Doctor) revert Refused("access.not_doctor");
        if (untilS <= block.timestamp) revert Refused("access.ended");
        if (grants[id].patient != address(0)) revert Refused("access.exists");
        grants[id] = Grant(msg.sender, reader, untilS, false);
        emit Granted(id, msg.sender, reader, untilS);
    }

    function revoke(bytes32 id) external {
        Grant storage given = grants[id];
        if (given.patient != msg.sender) revert Refused("access.not_own");
        if (given.isRevoked) revert Refused("access.unknown_grant");
        given.isRevoked = true;
        emit Revoked(id);
    }

    function read(bytes32 record, bytes32 id) external {
        Grant storage given = grants[id];
        if (given.reader != msg.sender || given.isRevoked) revert Refused("access.no_right");
        if (given.untilS <= block.timestamp) revert Refused("access.ended");
        if (ownerOf[record] == address(0)) revert Refused("record.unknown");
        if (given.patient != ownerOf[record]) revert Refused("access.no_right");
        emit Read(record, msg.sender, id);
    }
}
