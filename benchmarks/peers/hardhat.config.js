// Each transaction is put into a block at once, as Hardhat's node does by default.
module.exports = { solidity: '0.8.20', networks: { hardhat: { hardfork: 'london', chainId: 31337 } } };
