package main

const defaultSources = 16
